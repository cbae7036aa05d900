/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spool-record.h"
#include "agent/spool.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct fixture {
    char folder[64];
    char *records;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/plimsoll-spool-XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    f->records = fs_path("%s/records", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    fs_remove_tree(f->folder, NULL);
    free(f->records);
    free(f);
    return 0;
}

static struct spool *open_at(const char *folder)
{
    struct err e = ERR_INIT;
    struct spool *s = NULL;
    if (spool_open(folder, &s, &e) < 0)
        fail_msg("%s", err_text(&e));
    return s;
}

/* A result that says `reason`; one that is too long for that says it in eight texts as well. */
static int try_append(struct spool *s, const char *reason, uint64_t *ret_sequence, struct err *e)
{
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    Plimsoll__Result r = PLIMSOLL__RESULT__INIT;
    lease.campaign = (char *)"campaign";
    r.lease = &lease;
    r.reason = (char *)reason;
    r.outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID;
    Plimsoll__Text text = PLIMSOLL__TEXT__INIT;
    text.name = (char *)"console";
    text.text = (char *)reason;
    Plimsoll__Text *texts[] = {&text, &text, &text, &text, &text, &text, &text, &text};
    r.texts = texts;
    r.n_texts = strlen(reason) > 1000 ? 8 : 0;
    if (spool_append(s, &r, e) < 0)
        return -1;
    *ret_sequence = r.sequence;
    return 0;
}

static uint64_t append(struct spool *s, const char *reason)
{
    struct err e = ERR_INIT;
    uint64_t sequence = 0;
    if (try_append(s, reason, &sequence, &e) < 0)
        fail_msg("%s", err_text(&e));
    return sequence;
}

/* The reason of the first result after `after`, to be freed; NULL: there is none. */
static char *reason_after(struct spool *s, uint64_t after, uint64_t *ret_sequence)
{
    struct err e = ERR_INIT;
    Plimsoll__Envelope *m = NULL;
    if (spool_read(s, after, &m, ret_sequence, &e) < 0) {
        assert_int_equal(e.code, ERR_NOT_FOUND);
        err_clear(&e);
        return NULL;
    }
    assert_string_equal(m->result->spool, spool_uuid(s));
    assert_int_equal(m->result->sequence, *ret_sequence);
    char *reason = strdup(m->result->reason);
    frame_free(&m->base);
    return reason;
}

static void assert_holds(struct spool *s, uint64_t after, const char *expected, uint64_t sequence)
{
    uint64_t found = 0;
    cleanup_free char *reason = reason_after(s, after, &found);
    assert_non_null(reason);
    assert_string_equal(reason, expected);
    assert_int_equal(found, sequence);
}

static void assert_empty(struct spool *s)
{
    uint64_t sequence = 0;
    assert_null(reason_after(s, 0, &sequence));
    assert_int_equal(spool_pending(s), 0);
}

static off_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Changes one byte of the file. */
static void flip(const char *path, off_t offset)
{
    cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x55;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
}

static void results_come_back_in_order_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    cleanup_free char *uuid = strdup(spool_uuid(s));
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(append(s, "one"), 1);
    assert_int_equal(append(s, "two"), 2);
    spool_close(&s);
    s = open_at(f->folder);
    assert_string_equal(spool_uuid(s), uuid);
    assert_null(spool_damage(s));
    assert_int_equal(spool_next_sequence(s), 3);
    assert_holds(s, 0, "one", 1);
    assert_holds(s, 1, "two", 2);
    spool_close(&s);
}

static void a_result_is_on_disk_when_append_returns(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "kept");
    /* A second reader of the same file stands for the next start after a kill. */
    struct spool *after_kill = open_at(f->folder);
    assert_holds(after_kill, 0, "kept", 1);
    spool_close(&after_kill);
    spool_close(&s);
}

static void committed_results_stay_away_and_sequences_go_on(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "one");
    append(s, "two");
    append(s, "three");
    spool_commit(s, spool_uuid(s), 2);
    spool_commit(s, spool_uuid(s), 2);
    spool_commit(s, "another spool", 1);
    spool_commit(s, spool_uuid(s), 99);
    spool_commit(s, spool_uuid(s), 0);
    assert_int_equal(spool_pending(s), 2);
    assert_holds(s, 1, "three", 3);
    spool_commit(s, spool_uuid(s), 1);
    spool_commit(s, spool_uuid(s), 3);
    spool_close(&s);
    s = open_at(f->folder);
    assert_empty(s);
    assert_int_equal(append(s, "four"), 4);
    spool_close(&s);
}

static void commits_are_written_with_the_next_result(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "one");
    spool_commit(s, spool_uuid(s), 1);
    append(s, "two");
    struct spool *after_kill = open_at(f->folder);
    assert_int_equal(spool_pending(after_kill), 1);
    assert_holds(after_kill, 0, "two", 2);
    spool_close(&after_kill);
    spool_close(&s);
}

static void every_cut_of_the_last_record_loses_only_that_one(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "whole");
    spool_close(&s);
    off_t whole = size_of(f->records);
    s = open_at(f->folder);
    append(s, "torn");
    spool_close(&s);
    off_t full = size_of(f->records);
    cleanup_free char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(f->records, 1 << 20, &bytes, &length, NULL), 0);
    for (off_t cut = whole + 1; cut < full; cut++) {
        assert_int_equal(fs_write_atomic(f->records, bytes, (size_t)cut, 0600, NULL), 0);
        s = open_at(f->folder);
        assert_int_equal(spool_pending(s), 1);
        assert_holds(s, 0, "whole", 1);
        assert_non_null(strstr(spool_damage(s), "incomplete"));
        /* Never a sequence that the torn record may have had. */
        assert_true(append(s, "next") > 2);
        spool_close(&s);
    }
}

static void a_damaged_byte_anywhere_is_named_and_spares_the_other_records(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "first");
    spool_close(&s);
    off_t from = size_of(f->records);
    s = open_at(f->folder);
    append(s, "second");
    spool_close(&s);
    off_t to = size_of(f->records);
    s = open_at(f->folder);
    append(s, "third");
    spool_close(&s);
    cleanup_free char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(f->records, 1 << 20, &bytes, &length, NULL), 0);
    for (off_t at = from; at < to; at++) {
        assert_int_equal(fs_write_atomic(f->records, bytes, length, 0600, NULL), 0);
        flip(f->records, at);
        s = open_at(f->folder);
        assert_non_null(strstr(spool_damage(s), "damaged"));
        assert_int_equal(spool_pending(s), 2);
        assert_holds(s, 0, "first", 1);
        assert_holds(s, 1, "third", 3);
        assert_int_equal(append(s, "fourth"), 4);
        spool_close(&s);
        s = open_at(f->folder);
        assert_null(spool_damage(s));
        assert_int_equal(spool_pending(s), 3);
        spool_close(&s);
    }
}

static void a_damaged_start_keeps_the_uuid_and_uses_no_sequence_again(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    cleanup_free char *uuid = strdup(spool_uuid(s));
    append(s, "kept");
    for (uint64_t sequence = 2; sequence < 9; sequence++) {
        append(s, "stored");
        spool_commit(s, uuid, sequence);
    }
    spool_close(&s); /* compacted: that 2 to 8 were used stands in the START record alone */
    flip(f->records, 20);
    s = open_at(f->folder);
    assert_string_equal(spool_uuid(s), uuid);
    assert_holds(s, 0, "kept", 1);
    assert_non_null(spool_damage(s));
    assert_true(append(s, "new") > 8);
    spool_close(&s);
}

static void a_result_that_cannot_be_read_holds_up_no_other(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "first");
    append(s, "second");
    assert_int_equal(truncate(f->records, size_of(f->records) - 1), 0);
    assert_holds(s, 0, "first", 1);
    uint64_t sequence = 0;
    assert_null(reason_after(s, 1, &sequence));
    assert_int_equal(spool_pending(s), 2);
    spool_close(&s);
}

static void a_file_of_rubbish_becomes_a_new_spool_and_is_kept(void **state)
{
    struct fixture *f = *state;
    char rubbish[5000];
    for (size_t i = 0; i < sizeof rubbish; i++)
        rubbish[i] = "PLSP"[i % 4];
    assert_int_equal(fs_write_atomic(f->records, rubbish, sizeof rubbish, 0600, NULL), 0);
    struct spool *s = open_at(f->folder);
    assert_empty(s);
    assert_non_null(strstr(spool_damage(s), "anew"));
    append(s, "works");
    spool_close(&s);
    bool kept = false;
    DIR *folder = opendir(f->folder);
    for (struct dirent *d; (d = readdir(folder));)
        kept = kept || strncmp(d->d_name, "damaged-", 8) == 0;
    closedir(folder);
    assert_true(kept);
}

static void a_record_quoted_in_a_result_is_not_taken_for_one(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    uint8_t quoted[SPOOL_RECORD_HEAD_BYTES + 4 + SPOOL_RECORD_SUM_BYTES];
    struct spool_record r = {.kind = SPOOL_RESULT,
                             .sequence = 77,
                             .payload = (const uint8_t *)"evil",
                             .payload_length = 4};
    spool_record_write(&r, quoted);
    append(s, "before");
    spool_close(&s);
    cleanup_free char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(f->records, 1 << 20, &bytes, &length, NULL), 0);
    cleanup_free char *more = malloc(length + sizeof quoted);
    memcpy(more, bytes, length);
    memcpy(more + length, quoted, sizeof quoted);
    assert_int_equal(fs_write_atomic(f->records, more, length + sizeof quoted, 0600, NULL), 0);
    s = open_at(f->folder);
    assert_int_equal(spool_pending(s), 1);
    assert_holds(s, 0, "before", 1);
    assert_int_equal(append(s, "after"), 2);
    spool_close(&s);
}

static void many_results_keep_the_file_small_when_they_are_committed(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    cleanup_free char *long_reason = malloc(2501);
    memset(long_reason, 'x', 2500);
    long_reason[2500] = '\0';
    off_t most = 0;
    for (int i = 0; i < 400; i++) {
        uint64_t sequence = append(s, long_reason);
        if (sequence > 3)
            spool_commit(s, spool_uuid(s), sequence - 3);
        most = size_of(f->records) > most ? size_of(f->records) : most;
    }
    assert_int_equal(spool_pending(s), 3);
    assert_true(most < 2 << 20);
    assert_holds(s, 0, long_reason, 398);
    assert_holds(s, 399, long_reason, 400);
    spool_close(&s);
}

static void a_write_that_fails_loses_nothing_before_it_and_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    append(s, "before");
    struct rlimit usual;
    getrlimit(RLIMIT_FSIZE, &usual);
    struct rlimit tight = usual;
    tight.rlim_cur = (rlim_t)size_of(f->records) + 30;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tight);
    struct err e = ERR_INIT;
    uint64_t sequence = 0;
    int failed = try_append(s, "too much", &sequence, &e);
    setrlimit(RLIMIT_FSIZE, &usual);
    assert_int_equal(failed, -1);
    assert_int_equal(e.errnum, EFBIG);
    err_clear(&e);
    assert_int_equal(spool_pending(s), 1);
    assert_int_equal(append(s, "again"), 2);
    spool_close(&s);
    s = open_at(f->folder);
    assert_null(spool_damage(s));
    assert_holds(s, 1, "again", 2);
    spool_close(&s);
}

/* Fills the file system but for `left` bytes. */
static void fill_disk(const char *folder)
{
    cleanup_free char *path = fs_path("%s/filler", folder);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char block[4096];
    while (write(fd, block, sizeof block) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
}

/* Mounts of ours are seen by nobody else, and go with this process, however it ends. */
static bool mount_small_disk(const char *folder)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("plimsoll-test", folder, "tmpfs", 0, "size=4m") == 0;
}

static void a_full_disk_spends_the_reserve_and_then_says_so(void **state)
{
    struct fixture *f = *state;
    if (!mount_small_disk(f->folder))
        skip();
    cleanup_free char *folder = fs_path("%s/spool", f->folder);
    cleanup_free char *filler = fs_path("%s/filler", f->folder);
    struct spool *s = open_at(folder);
    fill_disk(f->folder);
    cleanup_free char *big = malloc(60001);
    memset(big, 'y', 60000);
    big[60000] = '\0';
    uint64_t last = append(s, big);
    int failed = 0;
    struct err e = ERR_INIT;
    for (int i = 0; i < 10 && !failed; i++) {
        failed = try_append(s, big, &last, &e);
    }
    assert_int_equal(failed, -1);
    assert_int_equal(e.errnum, ENOSPC);
    err_clear(&e);
    assert_int_equal(spool_pending(s), last);
    unlink(filler);
    assert_int_equal(append(s, "room again"), last + 1);
    spool_close(&s);
    s = open_at(folder);
    assert_int_equal(spool_pending(s), last + 1);
    spool_close(&s);
    assert_int_equal(umount(f->folder), 0);
}

static void what_is_no_file_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkfifo(f->records, 0600), 0);
    struct err e = ERR_INIT;
    struct spool *s = NULL;
    assert_int_equal(spool_open(f->folder, &s, &e), -1);
    assert_non_null(strstr(err_text(&e), "records"));
    err_clear(&e);
}

static void damage_while_open_loses_that_result_alone(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_at(f->folder);
    off_t from = size_of(f->records);
    append(s, "lost");
    append(s, "kept");
    flip(f->records, from + SPOOL_RECORD_HEAD_BYTES + 3);
    assert_holds(s, 0, "kept", 2);
    assert_int_equal(spool_pending(s), 1);
    spool_close(&s);
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(results_come_back_in_order_after_a_restart),
        SPOOL_TEST(a_result_is_on_disk_when_append_returns),
        SPOOL_TEST(committed_results_stay_away_and_sequences_go_on),
        SPOOL_TEST(commits_are_written_with_the_next_result),
        SPOOL_TEST(every_cut_of_the_last_record_loses_only_that_one),
        SPOOL_TEST(a_damaged_byte_anywhere_is_named_and_spares_the_other_records),
        SPOOL_TEST(a_damaged_start_keeps_the_uuid_and_uses_no_sequence_again),
        SPOOL_TEST(a_result_that_cannot_be_read_holds_up_no_other),
        SPOOL_TEST(a_file_of_rubbish_becomes_a_new_spool_and_is_kept),
        SPOOL_TEST(a_record_quoted_in_a_result_is_not_taken_for_one),
        SPOOL_TEST(many_results_keep_the_file_small_when_they_are_committed),
        SPOOL_TEST(a_write_that_fails_loses_nothing_before_it_and_may_be_tried_again),
        SPOOL_TEST(a_full_disk_spends_the_reserve_and_then_says_so),
        SPOOL_TEST(what_is_no_file_is_refused),
        SPOOL_TEST(damage_while_open_loses_that_result_alone),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
