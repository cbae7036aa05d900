/* SPDX-License-Identifier: GPL-3.0-or-later */
/* plimsoll-agent: makes and measures guests on this host for a coordinator. */
#include "agent/clean.h"
#include "agent/config.h"
#include "agent/doctor.h"
#include "agent/guestd/client.h"
#include "agent/session.h"
#include "common/cleanup.h"
#include "common/conf.h"
#include "common/digest.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/inquiry.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <zmq.h>

enum { EXIT_GOOD = 0, EXIT_TROUBLE = 1, EXIT_WRONG = 2 };
enum { WANTED_FILES = 65536 };

struct options {
    const char *config;
    bool clean;
    bool doctor;
    bool check_key;
    bool verbose;
};

struct agent {
    uv_loop_t loop;
    uv_signal_t interrupt;
    uv_signal_t terminate;
    uv_signal_t hangup;
    void *zmq;
    struct host host;
    struct stamper *stamper;
    struct spool *spool;
    struct bench bench;
    struct agent_config config;
    struct agent_setup setup;
    struct agent_session *session;
    char runner_digest[DIGEST_TEXT_BYTES];
    int signals; /* received so far */
};

static void print_help(FILE *to)
{
    fputs("Usage: plimsoll-agent --config FILE\n"
          "       plimsoll-agent --clean [--config FILE]\n"
          "       plimsoll-agent --doctor [--config FILE]\n"
          "       plimsoll-agent --check-key --config FILE\n"
          "\n"
          "Makes and measures guests on this host for a coordinator.\n"
          "\n"
          "  --config FILE  this agent's configuration, usually /etc/plimsoll/agent.conf\n"
          "  --clean        remove what killed agents left on this host: guests, mounts, devices,\n"
          "                 changed settings; agents that run are left alone\n"
          "  --doctor       say as JSON what this host can run, and what it is\n"
          "  --check-key    ask the coordinator whether it lets this agent's key in, and say why "
          "not;\n"
          "                 an agent that runs is not disturbed\n"
          "  --verbose      say more on standard error\n"
          "  --help         print this\n"
          "  --version      print the version\n"
          "\n"
          "SIGTERM, SIGINT and SIGHUP end it in order: a running trial is cancelled and its guest "
          "removed.\n"
          "Exit codes: 0 good, 1 trouble, 2 the command line or the configuration is wrong.\n"
          "\n"
          "The configuration file (name = value, one a line):\n",
          to);
    conf_print_keys(agent_config_keys, to);
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"clean", no_argument, NULL, 'C'},
        {"doctor", no_argument, NULL, 'd'},       {"check-key", no_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {0},
    };
    int which;
    while ((which = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (which) {
        case 'c':
            o->config = optarg;
            break;
        case 'C':
            o->clean = true;
            break;
        case 'd':
            o->doctor = true;
            break;
        case 'k':
            o->check_key = true;
            break;
        case 'v':
            o->verbose = true;
            break;
        case 'h':
            print_help(stdout);
            return EXIT_GOOD;
        case 'V':
            puts("plimsoll-agent " PLIMSOLL_VERSION);
            return EXIT_GOOD;
        default:
            return EXIT_WRONG;
        }
    }
    int modes = o->clean + o->doctor + o->check_key;
    if (optind == argc && modes <= 1 && (o->config || o->clean || o->doctor))
        return -1;
    print_help(stderr);
    return EXIT_WRONG;
}

static int exit_code(const struct err *e)
{
    return e->code == ERR_INPUT || e->code == ERR_NOT_FOUND ? EXIT_WRONG : EXIT_TROUBLE;
}

/* ---- Setting up and taking down ---- */

/* More descriptors for guests' channels. Some hosts do not let even root have them. */
static void raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max == RLIM_INFINITY || files.rlim_max > WANTED_FILES
                         ? WANTED_FILES
                         : files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        log_warning("cannot raise the limit of open files: %s", strerrordesc_np(errno));
}

static void be_subreaper(void)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        log_warning("cannot become a subreaper: %s", strerrordesc_np(errno));
}

static void sweep_all(struct agent *a)
{
    unsigned removed = 0, alive = 0;
    cleanup_err struct err own = ERR_INIT;
    cleanup_err struct err dead = ERR_INIT;
    if (clean_host(&a->host, &removed, &own) < 0)
        log_warning("%s", err_text(&own));
    if (clean_dead(&a->host, &removed, &alive, &dead) < 0)
        log_warning("%s", err_text(&dead));
    if (removed > 0)
        log_info("removed %u things that earlier runs left on this host", removed);
}

static int open_bench(struct agent *a, struct err *e)
{
    if (host_open(&a->host, e) < 0)
        return -1;
    sweep_all(a);
    if (stamper_start(&a->stamper, e) < 0)
        return -1;
    cleanup_err struct err without = ERR_INIT;
    if (digest_file(a->host.runner_path, a->runner_digest, &without) < 0)
        log_warning("there is no runner: %s", err_text(&without));
    a->bench =
        (struct bench){.host = &a->host, .stamper = a->stamper, .runner_digest = a->runner_digest};
    return 0;
}

/* Nothing of ours stays, unless a failed guest was to be kept: then what it needs stays as well,
 * and the host remains registered for the next --clean. */
static void close_bench(struct agent *a)
{
    if (bench_kept(&a->bench) > 0) {
        bench_forget_kept(&a->bench);
        guestd_leave(&a->host.guestd);
        host_keep_registered(&a->host);
    } else if (a->host.claim) {
        unsigned removed = 0;
        cleanup_err struct err e = ERR_INIT;
        if (clean_host(&a->host, &removed, &e) < 0)
            log_warning("%s", err_text(&e));
    }
    if (a->host.guestd)
        guestd_stop(&a->host.guestd);
    if (a->stamper)
        stamper_stop(&a->stamper);
    host_close(&a->host);
}

/* ---- Running ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct agent *a = handle->data;
    a->signals++;
    if (a->signals == 1)
        log_info("%s: ending in order", strsignal(number));
    agent_session_quit(a->session);
}

static void on_ended(void *arg)
{
    struct agent *a = arg;
    agent_session_free(&a->session);
    uv_close((uv_handle_t *)&a->interrupt, NULL);
    uv_close((uv_handle_t *)&a->terminate, NULL);
    uv_close((uv_handle_t *)&a->hangup, NULL);
}

static void watch_signal(struct agent *a, uv_signal_t *handle, int number)
{
    uv_signal_init(&a->loop, handle);
    handle->data = a;
    uv_signal_start(handle, on_signal, number);
}

static int open_spool(struct agent *a, struct err *e)
{
    cleanup_free char *folder = fs_path("%s/spool", a->host.state_folder);
    if (spool_open(folder, &a->spool, e) < 0)
        return -1;
    if (spool_damage(a->spool))
        log_error("%s", spool_damage(a->spool));
    if (spool_pending(a->spool) > 0)
        log_info("%zu results wait for the coordinator", spool_pending(a->spool));
    return 0;
}

static int converse(struct agent *a, struct err *e)
{
    a->setup = (struct agent_setup){.name = a->config.name,
                                    .endpoint = a->config.endpoint,
                                    .server_z85 = a->config.server_z85,
                                    .key = a->config.key,
                                    .key_path = a->config.key_path,
                                    .bench = &a->bench,
                                    .spool = a->spool,
                                    .ended = on_ended,
                                    .arg = a};
    if (agent_session_start(&a->loop, a->zmq, &a->setup, &a->session, e) < 0)
        return -1;
    log_info("%s, id %s, for %s", a->config.name, a->host.id, a->config.endpoint);
    watch_signal(a, &a->interrupt, SIGINT);
    watch_signal(a, &a->terminate, SIGTERM);
    watch_signal(a, &a->hangup, SIGHUP);
    uv_run(&a->loop, UV_RUN_DEFAULT);
    return 0;
}

static int run_steps(struct agent *a, const char *config, struct err *e)
{
    if (agent_config_load(config, &a->config, &a->host, e) < 0)
        return -1;
    be_subreaper();
    raise_limits();
    a->zmq = zmq_ctx_new();
    if (!a->zmq)
        return err_system(e, errno, "cannot make a ZeroMQ context");
    if (open_bench(a, e) < 0 || open_spool(a, e) < 0)
        return -1;
    return converse(a, e);
}

static int run(const char *config)
{
    struct agent a = {0};
    cleanup_err struct err e = ERR_INIT;
    uv_loop_init(&a.loop);
    int failed = run_steps(&a, config, &e);
    uv_run(&a.loop, UV_RUN_DEFAULT);
    uv_loop_close(&a.loop);
    spool_close(&a.spool);
    close_bench(&a);
    if (a.zmq)
        zmq_ctx_term(a.zmq);
    agent_config_clear(&a.config);
    if (!failed)
        return EXIT_GOOD;
    log_error("%s", err_text(&e));
    return exit_code(&e);
}

/* ---- The other two ---- */

static int load_host(const char *config, struct host *h, struct err *e)
{
    return config ? agent_config_load_host(config, h, e) : 0;
}

/* In a state folder of its own, so that it may run beside the agent; it goes again. */
static int with_own_state(struct host *h, char *folder, struct err *e)
{
    if (!mkdtemp(folder))
        return err_system(e, errno, "cannot make %s", folder);
    free(h->state_folder);
    h->state_folder = fs_path("%s", folder);
    return host_open(h, e);
}

static int doctor_steps(struct agent *a, const char *config, char *folder, struct err *e)
{
    be_subreaper();
    raise_limits();
    if (load_host(config, &a->host, e) < 0 || with_own_state(&a->host, folder, e) < 0)
        return -1;
    if (!config)
        a->host.allow_process = true;
    if (stamper_start(&a->stamper, e) < 0)
        return -1;
    a->bench = (struct bench){.host = &a->host, .stamper = a->stamper, .runner_digest = ""};
    return doctor_print(&a->bench, stdout, e);
}

static int doctor(const char *config)
{
    struct agent a = {0};
    cleanup_err struct err e = ERR_INIT;
    char folder[] = "/tmp/plimsoll-doctor-XXXXXX";
    int failed = doctor_steps(&a, config, folder, &e);
    close_bench(&a);
    cleanup_err struct err removing = ERR_INIT;
    if (!strstr(folder, "XXXXXX") && fs_remove_tree(folder, &removing) < 0)
        log_warning("%s", err_text(&removing));
    if (failed)
        log_error("%s", err_text(&e));
    return failed ? exit_code(&e) : EXIT_GOOD;
}

static int clean(const char *config)
{
    struct host h = {0};
    unsigned removed = 0, alive = 0;
    cleanup_err struct err e = ERR_INIT;
    be_subreaper();
    char folder[] = "/tmp/plimsoll-clean-XXXXXX";
    int failed = load_host(config, &h, &e) < 0 || with_own_state(&h, folder, &e) < 0 ||
                 clean_dead(&h, &removed, &alive, &e) < 0;
    host_close(&h);
    if (!strstr(folder, "XXXXXX"))
        fs_remove_tree(folder, NULL);
    if (alive > 0)
        log_info("%u agents run on this host; theirs was left alone", alive);
    if (removed > 0 || !failed)
        log_info("removed %u things that killed agents left", removed);
    if (failed)
        log_error("%s", err_text(&e));
    return failed ? exit_code(&e) : EXIT_GOOD;
}

static int check_key(const char *config)
{
    struct agent_config c = {0};
    struct host h = {0};
    cleanup_err struct err e = ERR_INIT;
    int failed = agent_config_load(config, &c, &h, &e);
    struct inquiry inquiry = {c.endpoint, c.server_z85, &c.key, c.name};
    if (!failed)
        failed = inquire(&inquiry, stdout, &e);
    bool told = e.code == ERR_REFUSED || e.code == ERR_UNAVAILABLE;
    if (failed && !told)
        log_error("%s", err_text(&e));
    agent_config_clear(&c);
    host_close(&h);
    return failed ? exit_code(&e) : EXIT_GOOD;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    int code = read_options(argc, argv, &o);
    if (code >= 0)
        return code;
    log_open("plimsoll-agent", o.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    /* A peer that goes away must not end us, nor a guest's socket, nor whoever reads what we print:
     * something of ours would stay on the host. */
    signal(SIGPIPE, SIG_IGN);
    if (o.clean)
        return clean(o.config);
    if (o.check_key)
        return check_key(o.config);
    return o.doctor ? doctor(o.config) : run(o.config);
}
