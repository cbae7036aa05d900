/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl run from a plan to a report, and what happens when it is interrupted or its agent dies.
 */
#include "common/clock.h"
#include "common/fs.h"
#include "coordinator/ctl/verb.h"
#include "tests/ctl/program.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_S = 30 };

static char folder[] = "/tmp/plimsoll-run-XXXXXX";
static char *plan, *slow_plan, *json, *runs;

static const char plan_text[] =
    "campaign = { name = \"quick\" }\n"
    "guest = { f = { backend = \"fake\"  ready_after = \"5ms\" } }\n"
    "experiment = { e = { probe = \"startup\"  guest = \"f\"  warmup = 1  repeat = 4 } }\n";
static const char slow_text[] =
    "campaign = { name = \"slow\" }\n"
    "guest = { f = { backend = \"fake\"  ready_after = \"200ms\" } }\n"
    "experiment = { e = { probe = \"startup\"  guest = \"f\"  warmup = 1  repeat = 10 } }\n";

static void expect(struct said s, int status, const char *output, const char *error)
{
    if (s.status != status)
        fail_msg("exit code %d, wanted %d; it said:\n%s%s", s.status, status, s.output, s.error);
    if (output && !strstr(s.output, output))
        fail_msg("wanted \"%s\" on standard output, which was:\n%s", output, s.output);
    if (error && !strstr(s.error, error))
        fail_msg("wanted \"%s\" on standard error, which was:\n%s", error, s.error);
    said_clear(&s);
}

/* The name of the newest run, the caller's to free; NULL where there is none. */
static char *newest_run(void)
{
    char *found = NULL;
    DIR *d = opendir(runs);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && (!found || strcmp(e->d_name, found) > 0)) {
            free(found);
            found = fs_path("%s", e->d_name);
        }
    if (d)
        closedir(d);
    return found;
}

/* ---- A run in the background ---- */

static pid_t start_slow_run(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execl(COORDCTL, COORDCTL, "run", slow_plan, "-o", json, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Until `coordctl status` of the newest run says this; the id is the caller's to free. */
static char *wait_until(const char *wanted)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_S * NS_PER_S;
    while (clock_monotonic_ns() < deadline_ns) {
        char *id = newest_run();
        struct said s = id ? coordctl("status", id, NULL) : (struct said){0};
        bool met = s.output && strstr(s.output, wanted);
        said_clear(&s);
        if (met)
            return id;
        free(id);
        poll(NULL, 0, 20);
    }
    fail_msg("no run came to say \"%s\" within %d s", wanted, WAIT_S);
    return NULL;
}

/* A program whose command line names the run's configuration. */
static pid_t program_of(const char *id, const char *conf)
{
    char *wanted = fs_path("%s/%s/%s", runs, id, conf);
    pid_t found = 0;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    for (const struct dirent *e; !found && (e = readdir(d));) {
        char *path = fs_path("/proc/%s/cmdline", e->d_name);
        char line[4096] = "";
        int fd = atoi(e->d_name) > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t n = fd >= 0 ? read(fd, line, sizeof line - 1) : 0;
        if (n > 0 && memmem(line, (size_t)n, wanted, strlen(wanted)))
            found = atoi(e->d_name);
        if (fd >= 0)
            close(fd);
        free(path);
    }
    closedir(d);
    free(wanted);
    return found;
}

static void nothing_of_it_runs(const char *id)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_S * NS_PER_S;
    while (program_of(id, "agent.conf") || program_of(id, "coordinator.conf")) {
        assert_true(clock_monotonic_ns() < deadline_ns);
        poll(NULL, 0, 20);
    }
}

/* ---- Tests ---- */

static void a_plan_becomes_a_report(void **state)
{
    (void)state;
    expect(coordctl("run", plan, "-o", json, NULL), EXIT_GOOD, json, "5 of 5 trials");
    assert_true(fs_exists(json));
    char *html = fs_path("%s/report.html", folder);
    assert_true(fs_exists(html));
    free(html);
    char *id = newest_run();
    expect(coordctl("show", id, "1", NULL), EXIT_GOOD, "accepted", NULL);
    expect(coordctl("list", NULL), EXIT_GOOD, id, NULL);
    nothing_of_it_runs(id);
    free(id);
}

static void ctrl_c_cancels_and_resume_runs_what_is_missing(void **state)
{
    (void)state;
    pid_t pid = start_slow_run();
    char *id = wait_until("  2 of 11 trials are done");
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), EXIT_MISSING);
    nothing_of_it_runs(id);
    expect(coordctl("status", id, NULL), EXIT_MISSING, "cancelled", NULL);
    expect(coordctl("run", "--resume", id, "-o", json, NULL), EXIT_GOOD, "done, 11 trials",
           "11 of 11 trials");
    nothing_of_it_runs(id);
    free(id);
}

static void an_agent_that_dies_is_told_and_the_run_can_go_on(void **state)
{
    (void)state;
    pid_t pid = start_slow_run();
    char *id = wait_until("  1 of 11 trials are done");
    pid_t agent = program_of(id, "agent.conf");
    assert_true(agent > 0);
    kill(agent, SIGKILL);
    assert_int_equal(wait_for(pid), EXIT_MISSING);
    nothing_of_it_runs(id);
    expect(coordctl("run", "--resume", id, "-o", json, NULL), EXIT_GOOD, "done, 11 trials", NULL);
    free(id);
}

static void what_it_started_ends_when_it_is_killed(void **state)
{
    (void)state;
    pid_t pid = start_slow_run();
    char *id = wait_until("  1 of 11 trials are done");
    kill(pid, SIGKILL);
    assert_int_equal(wait_for(pid), 128 + SIGKILL);
    nothing_of_it_runs(id);
    expect(coordctl("run", "--resume", id, "-o", json, NULL), EXIT_GOOD, "done, 11 trials", NULL);
    free(id);
}

static char *file(const char *name, const char *text)
{
    char *path = fs_path("%s/%s", folder, name);
    if (text)
        assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, NULL), 0);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    plan = file("quick.plan", plan_text);
    slow_plan = file("slow.plan", slow_text);
    json = file("report.json", NULL);
    return 0;
}

/* A folder of runs for each test: the newest is then its own. */
static int set_up_runs(void **state)
{
    (void)state;
    static unsigned serial;
    free(runs);
    runs = fs_path("%s/runs-%u", folder, serial++);
    setenv("PLIMSOLL_RUNS", runs, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(plan);
    free(slow_plan);
    free(json);
    free(runs);
    return fs_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_plan_becomes_a_report, set_up_runs),
        cmocka_unit_test_setup(ctrl_c_cancels_and_resume_runs_what_is_missing, set_up_runs),
        cmocka_unit_test_setup(an_agent_that_dies_is_told_and_the_run_can_go_on, set_up_runs),
        cmocka_unit_test_setup(what_it_started_ends_when_it_is_killed, set_up_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
