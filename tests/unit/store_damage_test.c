/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A store on a bad or full disk: an error or what was stored, never a crash, never other figures.
 */
#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/store/migrate.h"
#include "coordinator/store/read.h"
#include "coordinator/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRIALS = 60, PAGE_BYTES = 4096, MOST_BYTES = 16 << 20 };

static const char ID[] = "20261123T091500Z-test-1a2b";

/* libsqlite3 calls this one: a disk that fails. */
static atomic_bool disk_fails;
int fdatasync(int fd)
{
    if (!atomic_load(&disk_fails))
        return (int)syscall(SYS_fdatasync, fd);
    errno = EIO;
    return -1;
}

struct scene {
    uv_loop_t loop;
    struct store *store;
    char folder[64];
    char *path, *log;
    char *good; /* the file as it was closed */
    size_t length;
    unsigned answered, failed;
    char *last_error;
};

static void on_done(void *arg, const struct err *e)
{
    struct scene *s = arg;
    s->answered++;
    if (!e)
        return;
    s->failed++;
    free(s->last_error);
    s->last_error = strdup(err_text(e));
}

static void open_store(struct scene *s)
{
    cleanup_err struct err e = ERR_INIT;
    if (store_open(&s->loop, s->path, &s->store, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void close_store(struct scene *s)
{
    store_close(&s->store);
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

static void wait_answered(struct scene *s, unsigned wanted)
{
    while (s->answered < wanted)
        uv_run(&s->loop, UV_RUN_ONCE);
}

/* Trial n takes n seconds; its log makes it as long as real ones. */
static void add_result(struct scene *s, unsigned trial)
{
    static char words[200];
    memset(words, 'w', sizeof words - 1);
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    lease.campaign = (char *)ID;
    lease.trial = trial;
    lease.attempt = 1;
    lease.lease = trial;
    Plimsoll__Sample sample = PLIMSOLL__SAMPLE__INIT;
    sample.metric = "ready";
    sample.unit = "s";
    sample.value = trial;
    Plimsoll__Sample *samples[] = {&sample, &sample, &sample, &sample};
    Plimsoll__Text text = PLIMSOLL__TEXT__INIT;
    text.name = "console";
    text.text = words;
    Plimsoll__Text *texts[] = {&text};
    Plimsoll__Result r = PLIMSOLL__RESULT__INIT;
    r.spool = "5d9f";
    r.sequence = trial;
    r.lease = &lease;
    r.outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID;
    r.reason = "";
    r.n_samples = 4;
    r.samples = samples;
    r.n_texts = 1;
    r.texts = texts;
    store_add_attempt(s->store, &lease, "a", on_done, s);
    store_add_result(s->store, "agent-key", "a", &r, on_done, s);
}

static void add_campaign(struct scene *s)
{
    Plimsoll__Plan plan = PLIMSOLL__PLAN__INIT;
    plan.name = plan.title = plan.text = "test";
    store_add_campaign(s->store, ID, &plan, 17, false, on_done, s);
    struct store_trial *trials = calloc(TRIALS, sizeof *trials);
    for (unsigned i = 0; i < TRIALS; i++)
        trials[i] = (struct store_trial){
            .trial = i + 1, .cell = i % 3, .repetition = i / 3, .host = "a", .order = i};
    store_add_schedule(s->store, ID, 1, 0, trials, TRIALS, on_done, s);
    free(trials);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    strcpy(s->folder, "/tmp/plimsoll-damage-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->path = fs_path("%s/store.db", s->folder);
    s->log = fs_path("%s/store.db-wal", s->folder);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    open_store(s);
    add_campaign(s);
    for (unsigned i = 1; i <= TRIALS; i++)
        add_result(s, i);
    wait_answered(s, 2 + 2 * TRIALS);
    assert_int_equal(s->failed, 0);
    close_store(s);
    assert_int_equal(fs_read(s->path, MOST_BYTES, &s->good, &s->length, NULL), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(fs_remove_tree(s->folder, NULL), 0);
    free(s->path);
    free(s->log);
    free(s->good);
    free(s->last_error);
    free(s);
    return 0;
}

/* The store's file as given, without a log or an index of one. */
static void put(struct scene *s, const char *bytes, size_t length)
{
    cleanup_free char *index = fs_path("%s-shm", s->path);
    unlink(s->log);
    unlink(index);
    assert_int_equal(fs_write_atomic(s->path, bytes, length, 0600, NULL), 0);
}

struct seen {
    unsigned results;
    bool other; /* than what was stored */
};

static int see_result(void *arg, const struct read_result *r, struct err *e)
{
    (void)e;
    struct seen *seen = arg;
    seen->results++;
    seen->other = seen->other || r->n_samples != 4 || r->cell != (r->trial - 1) % 3 ||
                  !r->accepted || strcmp(r->host, "a") != 0;
    for (size_t i = 0; i < r->n_samples; i++)
        seen->other = seen->other || r->samples[i].value != (double)r->trial ||
                      strcmp(r->samples[i].metric, "ready") != 0;
    return 0;
}

/* As a report reads it: in one moment, with the counts that say how much there should be. */
static int read_store(const struct scene *s, struct seen *seen, struct err *e)
{
    struct reader *r = NULL;
    struct read_counts counts = {0};
    if (read_open(s->path, &r, e) < 0)
        return -1;
    int failed = read_begin(r, e) < 0 || read_counts(r, ID, &counts, e) < 0 ||
                 read_results(r, ID, 0, READ_ACCEPTED_ONLY, see_result, seen, e) < 0;
    read_end(r);
    read_close(&r);
    /* Fewer than the store itself counts is seen by whoever reads it. */
    return failed || counts.accepted != TRIALS || seen->results != TRIALS ? -1 : 0;
}

/* Whether it reads as what was stored. Anything else is an error that says something. */
static bool reads_well(const struct scene *s)
{
    cleanup_err struct err e = ERR_INIT;
    struct seen seen = {0};
    int failed = read_store(s, &seen, &e);
    assert_false(seen.other);
    if (failed && e.code != ERR_NONE)
        assert_true(*err_text(&e));
    return !failed;
}

static void opens_or_says_why(struct scene *s)
{
    cleanup_err struct err e = ERR_INIT;
    if (store_open(&s->loop, s->path, &s->store, &e) == 0)
        close_store(s);
    else
        assert_non_null(strstr(err_text(&e), s->path));
}

static void a_damaged_page_is_an_error_and_never_another_figure(void **state)
{
    struct scene *s = *state;
    unsigned good = 0, tried = 0;
    cleanup_free char *bytes = malloc(s->length);
    assert_true(reads_well(s));
    for (size_t page = 0; page < s->length / PAGE_BYTES; page++)
        for (size_t k = 0; k < 8; k++, tried++) {
            memcpy(bytes, s->good, s->length);
            /* Eight places a page, the first in its header: zeros, ones, a flipped bit in turn. */
            size_t at = page * PAGE_BYTES + k * (PAGE_BYTES / 8) + (k > 0 ? 13 * k : 0);
            for (size_t i = at; i < at + (k % 3 == 2 ? 1 : 16); i++)
                bytes[i] = (char)(k % 3 == 0 ? 0 : k % 3 == 1 ? -1 : bytes[i] ^ 4);
            put(s, bytes, s->length);
            good += reads_well(s);
            opens_or_says_why(s);
        }
    print_message("%u of %u damaged files read as before\n", good, tried);
    assert_true(good < tried);
}

/* The one thing that SQLite itself cannot see. */
static void a_figure_that_changed_on_the_disk_is_named(void **state)
{
    struct scene *s = *state;
    cleanup_free char *bytes = malloc(s->length);
    memcpy(bytes, s->good, s->length);
    /* A whole number is kept as an integer of as few bytes as it needs: behind the metric's name
     * and the unit. */
    char *at = bytes;
    unsigned changed = 0;
    while ((at = memmem(at, s->length - (size_t)(at - bytes), "readys\x0c", 7))) {
        at[6] = 0x0d;
        changed++;
    }
    assert_int_equal(changed, 4);
    put(s, bytes, s->length);
    cleanup_err struct err e = ERR_INIT;
    struct seen seen = {0};
    assert_int_equal(read_store(s, &seen, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_non_null(strstr(err_text(&e), "damaged: a result of trial 12 "));
    assert_false(seen.other);
}

static void a_file_that_was_cut_is_an_error(void **state)
{
    struct scene *s = *state;
    for (size_t cut = 1; cut < s->length; cut += PAGE_BYTES / 2 + 1) {
        put(s, s->good, s->length - cut);
        /* Less than a page from the end may be room that nothing was read from. */
        assert_true(!reads_well(s) || cut < PAGE_BYTES);
        opens_or_says_why(s);
    }
}

/* What the log held and was answered is there up to the cut, whole commits only: a commit that is
 * cut off is one that a machine without power never finished. */
static void a_log_that_was_cut_loses_whole_commits_from_its_end(void **state)
{
    struct scene *s = *state;
    open_store(s);
    for (unsigned i = 0; i < 3; i++) {
        Plimsoll__Lease late = PLIMSOLL__LEASE__INIT;
        late.campaign = (char *)ID;
        late.trial = 1 + i;
        late.attempt = 2;
        late.lease = 100;
        store_end_attempt(s->store, &late, "nothing", on_done, s);
        store_set_state(s->store, ID, i % 2 ? "running" : "cancelling", "", on_done, s);
        wait_answered(s, 2 + 2 * TRIALS + 2 * (i + 1));
    }
    cleanup_free char *log = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(s->log, MOST_BYTES, &log, &length, NULL), 0);
    assert_true(length > PAGE_BYTES);
    cleanup_free char *file = NULL;
    size_t file_length = 0;
    assert_int_equal(fs_read(s->path, MOST_BYTES, &file, &file_length, NULL), 0);
    close_store(s);
    for (size_t cut = 0; cut < length; cut += 1000) {
        put(s, file, file_length);
        assert_int_equal(fs_write_atomic(s->log, log, length - cut, 0600, NULL), 0);
        assert_true(reads_well(s));
        open_store(s);
        close_store(s);
        assert_true(reads_well(s));
    }
}

static void a_store_of_a_later_version_is_left_as_it_is(void **state)
{
    struct scene *s = *state;
    cleanup_free char *bytes = malloc(s->length);
    memcpy(bytes, s->good, s->length);
    bytes[63] = (char)(store_schema.version + 1); /* user_version, big-endian at offset 60 */
    put(s, bytes, s->length);
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(store_open(&s->loop, s->path, &s->store, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_non_null(strstr(err_text(&e), s->path));
    assert_non_null(strstr(err_text(&e), "knows none after"));
    cleanup_free char *after = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(s->path, MOST_BYTES, &after, &length, NULL), 0);
    assert_int_equal(length, s->length);
    assert_memory_equal(after, bytes, length);
    assert_false(reads_well(s));
}

static void a_store_without_sums_is_read_as_before(void **state)
{
    struct scene *s = *state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(s->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE result DROP COLUMN sum; PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    open_store(s);
    close_store(s);
    assert_true(reads_well(s));
}

static void a_disk_that_fails_is_told_and_what_was_answered_stays(void **state)
{
    struct scene *s = *state;
    open_store(s);
    unsigned before = s->answered;
    atomic_store(&disk_fails, true);
    store_set_state(s->store, ID, "done", "lost", on_done, s);
    wait_answered(s, before + 1);
    atomic_store(&disk_fails, false);
    assert_int_equal(s->failed, 1);
    assert_non_null(strstr(s->last_error, "disk I/O error"));
    assert_non_null(strstr(s->last_error, s->path));
    close_store(s);
    assert_true(reads_well(s));
}

static void a_full_disk_is_told_and_with_room_it_goes_on(void **state)
{
    struct scene *s = *state;
    cleanup_free char *small = fs_path("%s/small", s->folder);
    cleanup_free char *filler = fs_path("%s/filler", small);
    cleanup_free char *other = fs_path("%s/store.db", small);
    assert_int_equal(fs_make_dirs(small, 0700, NULL), 0);
    /* Seen by nobody else, and gone with this process. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("plimsoll-test", small, "tmpfs", 0, "size=2m") < 0)
        skip();
    assert_int_equal(fs_write_atomic(other, s->good, s->length, 0600, NULL), 0);
    free(s->path);
    s->path = fs_path("%s", other);
    open_store(s);
    cleanup_close int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char block[PAGE_BYTES];
    while (write(fd, block, sizeof block) > 0)
        ;
    unsigned before = s->answered;
    for (unsigned i = 1; i < 20 && s->failed == 0; i++) {
        store_set_state(s->store, ID, i % 2 ? "running" : "cancelling", "", on_done, s);
        wait_answered(s, before + i);
    }
    assert_true(s->failed > 0);
    assert_non_null(strstr(s->last_error, "full"));
    assert_non_null(strstr(s->last_error, s->path));
    assert_true(reads_well(s));
    close_store(s);
    unlink(filler);
    assert_int_equal(ftruncate(fd, 0), 0);
    open_store(s);
    s->failed = 0;
    before = s->answered;
    store_set_state(s->store, ID, "done", "", on_done, s);
    wait_answered(s, before + 1);
    assert_int_equal(s->failed, 0);
    close_store(s);
    assert_true(reads_well(s));
    assert_int_equal(umount2(small, MNT_DETACH), 0);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_damaged_page_is_an_error_and_never_another_figure),
        WITH_STORE(a_figure_that_changed_on_the_disk_is_named),
        WITH_STORE(a_file_that_was_cut_is_an_error),
        WITH_STORE(a_log_that_was_cut_loses_whole_commits_from_its_end),
        WITH_STORE(a_store_of_a_later_version_is_left_as_it_is),
        WITH_STORE(a_store_without_sums_is_read_as_before),
        WITH_STORE(a_disk_that_fails_is_told_and_what_was_answered_stays),
        WITH_STORE(a_full_disk_is_told_and_with_room_it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
