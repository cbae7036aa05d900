/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * coordctl run: a private coordinator and agent on this host, in the foreground. They are the
 * fleet's own programs on the fleet's own sockets; only the keys are thrown away and the ports are
 * free ones.
 */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "coordinator/child.h"
#include "coordinator/ctl/client.h"
#include "coordinator/ctl/images.h"
#include "coordinator/ctl/output.h"
#include "coordinator/ctl/place.h"
#include "coordinator/ctl/plan_file.h"
#include "coordinator/ctl/progress.h"
#include "coordinator/ctl/run_folder.h"
#include "coordinator/leftovers.h"
#include "coordinator/report/report.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int run(int argc, char **argv);

extern const struct verb verb_run;
const struct verb verb_run = {
    .name = "run",
    .arguments = "PLAN | --resume ID",
    .summary = "Run a plan on this host, in the foreground, and report",
    .help = "  --resume ID    go on with an earlier run: only what it lacks is run\n"
            "  --keep-failed  leave a failed guest up, for a look\n"
            "  -o, --output FILE  write the json report there instead of ./report.json; the HTML "
            "report is\n"
            "                 written beside it, as FILE with the ending .html\n"
            "Missing images are built first. What this host cannot run is named and left out.\n"
            "Ctrl-C cancels the campaign and cleans the host; twice leaves at once, and the next\n"
            "start of any of our programs cleans. A run keeps its store and logs in\n"
            "$PLIMSOLL_RUNS/ID, else /var/lib/plimsoll/runs/ID; not root: ~/.local/state/...\n",
    .run = run,
};

enum { START_WAIT_S = 30, AGENT_STOP_S = 90, COORDINATOR_STOP_S = 20, LOOK_AGAIN_MS = 20 };

struct running {
    uv_loop_t loop;
    uv_signal_t children;
    uv_timer_t look_again;
    struct run_folder folder;
    struct child coordinator, agent;
    struct client *client;
    struct progress progress;
    bool submitted;
    bool stopping;    /* children may end now */
    const char *dead; /* the child that ended too early */
    char state[32];   /* the campaign's last */
};

/* ---- Signals ---- */

static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t interruptions;
static uv_async_t interrupted;

static void cancel_campaign(struct running *r)
{
    Plimsoll__CancelCampaign cancel = PLIMSOLL__CANCEL_CAMPAIGN__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    cancel.campaign = r->folder.campaign;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN;
    request.cancel_campaign = &cancel;
    if (client_tell(r->client, &request, NULL) < 0)
        client_interrupt(r->client, ERR_CANCELLED, "cancelled");
}

static void tell_interrupted(uv_async_t *handle)
{
    struct running *r = handle->data;
    progress_end(&r->progress);
    fputs(r->stopping ? "This host is being cleaned; again to leave at once.\n"
                      : "Cancelling and cleaning this host; again to leave at once.\n",
          stderr);
    if (r->stopping)
        return;
    if (r->submitted)
        cancel_campaign(r);
    else if (r->client)
        client_interrupt(r->client, ERR_CANCELLED, "cancelled");
}

/* Caught here and not by libuv, since the second one must count also while the loop stands still.
 * The agent, left alone, gets SIGTERM at our death and cleans up behind our back. A terminal that
 * goes away may say so twice. */
static void catch_interrupt(int number)
{
    static const char words[] =
        "\nLeaving at once; this host is cleaned behind your back, and what "
        "that misses by the next start of any of our programs.\n";
    int before = errno;
    if (interruptions > 0 && number != SIGHUP) {
        ssize_t n = write(STDERR_FILENO, words, sizeof words - 1);
        (void)n;
        _exit(128 + number);
    }
    interruptions = 1;
    uv_async_send(&interrupted);
    errno = before;
}

static void on_child(uv_signal_t *signal, int number)
{
    (void)number;
    struct running *r = signal->data;
    struct child *const children[] = {&r->coordinator, &r->agent};
    for (size_t i = 0; i < 2; i++) {
        struct child *c = children[i];
        bool had = c->pid != 0;
        if (!child_ended(c) || !had || r->stopping || r->dead)
            continue;
        r->dead = c->name;
        if (r->client)
            client_interrupt(r->client, ERR_SYSTEM, "one of our programs ended");
    }
}

static void on_look_again(uv_timer_t *timer)
{
    (void)timer;
}

static void watch_signals(struct running *r)
{
    struct sigaction action = {.sa_handler = catch_interrupt, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    uv_async_init(&r->loop, &interrupted, tell_interrupted);
    interrupted.data = r;
    uv_unref((uv_handle_t *)&interrupted);
    for (size_t i = 0; i < sizeof interrupts / sizeof *interrupts; i++)
        if (signal(interrupts[i], SIG_IGN) != SIG_IGN) /* as nohup has it */
            sigaction(interrupts[i], &action, NULL);
    uv_signal_init(&r->loop, &r->children);
    r->children.data = r;
    uv_signal_start(&r->children, on_child, SIGCHLD);
    uv_unref((uv_handle_t *)&r->children);
    uv_timer_init(&r->loop, &r->look_again);
}

static void close_loop(struct running *r)
{
    uv_close((uv_handle_t *)&interrupted, NULL);
    uv_close((uv_handle_t *)&r->children, NULL);
    uv_close((uv_handle_t *)&r->look_again, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
}

/* ---- Starting ---- */

static int check_alive(const struct running *r, struct err *e)
{
    if (r->dead)
        return err_set(e, ERR_SYSTEM, "%s ended", r->dead);
    return interruptions ? err_set(e, ERR_CANCELLED, "cancelled") : 0;
}

/* Turns the loop for a moment. */
static int look_again(struct running *r, struct err *e)
{
    uv_update_time(&r->loop);
    uv_timer_start(&r->look_again, on_look_again, LOOK_AGAIN_MS, 0);
    uv_run(&r->loop, UV_RUN_ONCE);
    uv_timer_stop(&r->look_again);
    return check_alive(r, e);
}

static int start_program(struct running *r, const char *name, const char *conf, struct child *c,
                         struct err *e)
{
    cleanup_free char *program = NULL;
    if (child_find(name, &program, e) < 0)
        return -1;
    cleanup_free char *log = fs_path("%s/%s.log", r->folder.path, name);
    char *argv[] = {program, "--config", (char *)conf, NULL};
    return child_start(c, name, argv, log, e);
}

static int start_coordinator(struct running *r, struct client_target *ret, struct err *e)
{
    const int64_t deadline_ns = clock_monotonic_ns() + START_WAIT_S * NS_PER_S;
    if (start_program(r, "plimsoll-coordinator", r->folder.coordinator_conf, &r->coordinator, e) <
        0)
        return -1;
    for (;;) {
        cleanup_err struct err why = ERR_INIT;
        if (run_folder_connect(&r->folder, ret, &why) == 0)
            return 0;
        if (why.code != ERR_NOT_FOUND)
            return err_move(e, &why);
        if (look_again(r, e) < 0)
            return -1;
        if (clock_monotonic_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, "plimsoll-coordinator opened no port within %d s",
                           (int)START_WAIT_S);
    }
}

static int agent_is_connected(struct running *r, bool *ret, struct err *e)
{
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__ListHosts list = PLIMSOLL__LIST_HOSTS__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS;
    request.list_hosts = &list;
    if (client_call(r->client, &request, PLIMSOLL__ENVELOPE__KIND_HOSTS, &answer, e) < 0)
        return -1;
    *ret = false;
    for (size_t i = 0; i < answer->hosts->n_hosts; i++)
        *ret = *ret || strcmp(answer->hosts->hosts[i]->state, "connected") == 0;
    return 0;
}

static int start_agent(struct running *r, struct err *e)
{
    const int64_t deadline_ns = clock_monotonic_ns() + START_WAIT_S * NS_PER_S;
    if (start_program(r, "plimsoll-agent", r->folder.agent_conf, &r->agent, e) < 0)
        return -1;
    for (bool connected = false; !connected;) {
        if (look_again(r, e) < 0 || agent_is_connected(r, &connected, e) < 0)
            return -1;
        if (clock_monotonic_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, "plimsoll-agent did not connect within %d s",
                           (int)START_WAIT_S);
    }
    return 0;
}

static int start(struct running *r, struct err *e)
{
    struct client_target target = {0};
    if (start_coordinator(r, &target, e) < 0)
        return -1;
    int result = client_start(&r->loop, &target, &r->client, e);
    client_target_clear(&target);
    if (result < 0 || client_wait(r->client, START_WAIT_S * NS_PER_S, e) < 0)
        return -1;
    return start_agent(r, e);
}

/* ---- Running ---- */

static int submit(struct running *r, Plimsoll__Submit *submit, struct err *e)
{
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_SUBMIT;
    request.submit = submit;
    if (check_alive(r, e) < 0 ||
        client_call(r->client, &request, PLIMSOLL__ENVELOPE__KIND_SUBMITTED, &answer, e) < 0)
        return -1;
    if (!*answer->submitted->campaign) {
        plan_file_tell(answer->submitted->diagnostics, answer->submitted->n_diagnostics);
        return err_set(e, ERR_INPUT, "the plan was not accepted");
    }
    free(r->folder.campaign);
    r->folder.campaign = fs_path("%s", answer->submitted->campaign);
    r->submitted = true;
    return 0;
}

static int on_changed(void *arg, const Plimsoll__Campaign *c)
{
    struct running *r = arg;
    snprintf(r->state, sizeof r->state, "%s", c->state);
    progress_show(&r->progress, c);
    return 0;
}

static int conduct(struct running *r, Plimsoll__Submit *plan, struct err *e)
{
    if (start(r, e) < 0 || submit(r, plan, e) < 0)
        return -1;
    progress_start(&r->progress);
    int result = client_watch(r->client, r->folder.campaign, on_changed, r, e);
    progress_end(&r->progress);
    return result;
}

/* Of what broke before there was a campaign, or of a program that ended too early. */
static void tell_logs(const struct running *r, const struct err *e)
{
    const struct child *const children[] = {&r->coordinator, &r->agent};
    bool broken = e->code == ERR_SYSTEM || e->code == ERR_TIMEOUT || e->code == ERR_REFUSED;
    for (size_t i = 0; i < 2; i++) {
        char words[96];
        const struct child *c = children[i];
        if (r->dead && c->name && strcmp(r->dead, c->name) == 0)
            fprintf(stderr, "%s %s; ", c->name, child_end_words(c, words));
        else if (!broken || r->submitted)
            continue;
        child_print_log(c, stderr);
    }
}

/* With the loop turning, so that Ctrl-C is heard meanwhile. */
static bool stop_child(struct running *r, struct child *c, int wait_s)
{
    const int64_t deadline_ns = clock_monotonic_ns() + wait_s * NS_PER_S;
    if (!child_ended(c))
        kill(c->pid, SIGTERM);
    while (!child_ended(c) && clock_monotonic_ns() < deadline_ns)
        look_again(r, NULL);
    return child_stop(c, clock_monotonic_ns());
}

/* From here on Ctrl-C ends coordctl as it does any program: there is nothing left to clean. */
static void leave_signals(void)
{
    for (size_t i = 0; i < sizeof interrupts / sizeof *interrupts; i++)
        if (signal(interrupts[i], SIG_DFL) == SIG_IGN)
            signal(interrupts[i], SIG_IGN);
}

/* The agent first: it cleans the host while the coordinator can still take what its spool holds. */
static void stop(struct running *r)
{
    r->stopping = true;
    if (!stop_child(r, &r->agent, AGENT_STOP_S)) {
        fprintf(stderr, "plimsoll-agent did not stop within %d s and was killed; ",
                (int)AGENT_STOP_S);
        child_print_log(&r->agent, stderr);
        leftovers_clean();
    }
    client_close(&r->client);
    stop_child(r, &r->coordinator, COORDINATOR_STOP_S);
    if (r->dead)
        leftovers_clean();
    leave_signals();
}

static void tell_kept(const struct run_folder *f)
{
    cleanup_free char *path = fs_path("%s/agent/id", f->path);
    cleanup_free char *id = NULL;
    cleanup_free char *run_folder = fs_run_folder();
    if (fs_read_kernel(path, &id, NULL) == 0)
        leftovers_tell_kept(run_folder, id, stderr);
}

/* ---- Reporting ---- */

static int write_file(const struct running *r, enum report_format format, const char *path,
                      struct err *e)
{
    struct output o;
    if (output_open(&o, path, e) < 0)
        return -1;
    int result = report_write(r->folder.store, r->folder.campaign, format, o.file, NULL, e);
    if (output_close(&o, result == 0, result == 0 ? e : NULL) < 0)
        result = -1;
    return result;
}

/* "x.json" -> "x.html"; any other name gets the ending added. The caller frees. */
static char *html_beside(const char *json_path)
{
    size_t n = strlen(json_path);
    bool usual = n > 5 && strcmp(json_path + n - 5, ".json") == 0;
    return fs_path("%.*s.html", (int)(usual ? n - 5 : n), json_path);
}

/* Writes a report's file and tells where it is; false, and told, where that failed. */
static bool keep(const struct running *r, enum report_format format, const char *path)
{
    char absolute[PATH_MAX];
    cleanup_err struct err e = ERR_INIT;
    const char *word = format == REPORT_JSON ? "json" : "html";
    if (write_file(r, format, path, &e) < 0) {
        fprintf(stderr, "coordctl run: %s; `coordctl report %s --format %s -o FILE` writes it\n",
                err_text(&e), r->folder.campaign, word);
        return false;
    }
    printf(format == REPORT_JSON ? "%s, with every sample\n" : "%s, with figures\n",
           realpath(path, absolute) ? absolute : path);
    return true;
}

static int report(const struct running *r, const char *json_path)
{
    struct report_verdict verdict = {0};
    cleanup_err struct err e = ERR_INIT;
    if (report_write(r->folder.store, r->folder.campaign, REPORT_TEXT, stdout, &verdict, &e) < 0) {
        fprintf(stderr, "coordctl run: %s\n", err_text(&e));
        return EXIT_MISSING;
    }
    cleanup_free char *html_path = html_beside(json_path);
    puts("\nThe whole report:");
    bool kept = keep(r, REPORT_JSON, json_path);
    kept = keep(r, REPORT_HTML, html_path) && kept;
    return kept || verdict.exit_code ? verdict.exit_code : EXIT_CHECK_FAILED;
}

/* Nothing was submitted: the folder goes, unless its logs are wanted. */
static int end_without_campaign(const struct running *r, bool is_new, const struct err *e)
{
    cleanup_err struct err why = ERR_INIT;
    bool plain = e->code == ERR_INPUT || e->code == ERR_CANCELLED;
    if (is_new && plain && fs_remove_tree(r->folder.path, &why) < 0)
        fprintf(stderr, "coordctl run: %s\n", err_text(&why));
    return e->code == ERR_INPUT || e->code == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_MISSING;
}

static int run_campaign(struct running *r, Plimsoll__Submit *plan, const char *json_path)
{
    bool is_new = !*plan->resume;
    cleanup_err struct err e = ERR_INIT;
    uv_loop_init(&r->loop);
    watch_signals(r);
    if (conduct(r, plan, &e) < 0 && e.code != ERR_CANCELLED)
        fprintf(stderr, "coordctl run: %s\n", err_text(&e));
    stop(r);
    tell_logs(r, &e);
    int code = r->submitted ? report(r, json_path) : end_without_campaign(r, is_new, &e);
    if (r->submitted && (code == EXIT_MISSING || e.code != ERR_NONE)) {
        code = code ? code : EXIT_MISSING;
        fprintf(stderr, "Trials are missing; `coordctl run --resume %s` runs only those.\n",
                r->folder.campaign);
    }
    tell_kept(&r->folder);
    close_loop(r);
    child_clear(&r->coordinator);
    child_clear(&r->agent);
    return code;
}

/* ---- The verb ---- */

static int prepare_images(const Plimsoll__Plan *plan, struct err *e)
{
    struct images_item *items = NULL;
    size_t n = 0;
    if (images_of_plan(plan, &items, &n, e) < 0)
        return -1;
    images_build(items, n);
    images_free(items, n);
    return 0;
}

static int fail(const struct err *e)
{
    fprintf(stderr, "coordctl run: %s\n", err_text(e));
    return e->code == ERR_SYSTEM ? EXIT_MISSING : EXIT_USAGE;
}

static int resume(const char *campaign, bool keep_failed, const char *json_path)
{
    struct running r = {.folder.lock_fd = -1};
    cleanup_err struct err e = ERR_INIT;
    if (run_folder_open(campaign, &r.folder, &e) < 0)
        return fail(&e);
    leftovers_clean();
    Plimsoll__Submit plan = PLIMSOLL__SUBMIT__INIT;
    plan.resume = r.folder.campaign;
    plan.keep_failed = keep_failed;
    char *id = r.folder.campaign;
    r.folder.campaign = fs_path("%s", id);
    int code = run_campaign(&r, &plan, json_path);
    free(id);
    run_folder_clear(&r.folder);
    return code;
}

static int run_plan(const struct plan_file *file, bool keep_failed, const char *json_path)
{
    struct running r = {.folder.lock_fd = -1};
    cleanup_err struct err e = ERR_INIT;
    leftovers_clean();
    if (prepare_images(file->plan, &e) < 0 || run_folder_make(file->plan->name, &r.folder, &e) < 0)
        return fail(&e);
    Plimsoll__Submit plan;
    plan_file_submit(file, &plan);
    plan.keep_failed = keep_failed;
    plan.id = r.folder.campaign;
    char *id = r.folder.campaign;
    r.folder.campaign = fs_path("%s", id);
    int code = run_campaign(&r, &plan, json_path);
    free(id);
    run_folder_clear(&r.folder);
    return code;
}

static int run(int argc, char **argv)
{
    bool keep_failed = false;
    const char *resumed = NULL;
    const char *json_path = "report.json";
    char **operands;
    const struct option_row rows[] = {
        {.name = "resume", .text = &resumed},
        {.name = "keep-failed", .flag = &keep_failed},
        {.name = "output", .letter = 'o', .text = &json_path},
        {0},
    };
    if (options_parse(&verb_run, argc, argv, rows, 0, 1, &operands) < 0)
        return EXIT_USAGE;
    if (resumed && operands[0])
        return options_complain(
            &verb_run, "--resume goes on with the plan of that run; leave `%s` out", operands[0]);
    if (resumed)
        return resume(resumed, keep_failed, json_path);
    if (!operands[0])
        return options_complain(&verb_run, "a plan is missing");
    struct plan_file file;
    int code = plan_file_read(operands[0], &file);
    if (code == EXIT_GOOD)
        code = run_plan(&file, keep_failed, json_path);
    plan_file_clear(&file);
    return code;
}
