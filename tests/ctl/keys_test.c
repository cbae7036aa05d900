/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl keys, from making a pair to the table that a coordinator reads. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "coordinator/ctl/verb.h"
#include "proto/key_table.h"
#include "tests/cmocka_with_needs.h"
#include "tests/ctl/program.h"

#include <string.h>
#include <sys/stat.h>

static char folder[] = "/tmp/plimsoll-keys-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return fs_remove_tree(folder, NULL);
}

static void expect(struct said s, int status, const char *output, const char *error)
{
    if (s.status != status || (output && !strstr(s.output, output)) ||
        (error && !strstr(s.error, error)))
        fail_msg("exit code %d, wanted %d with \"%s\" and \"%s\"; it said:\n%s%s", s.status, status,
                 output ? output : "", error ? error : "", s.output, s.error);
    said_clear(&s);
}

static void make_prints_the_public_key_of_a_pair_that_only_its_owner_reads(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/own/a.key", folder);
    struct said s = coordctl("keys", "make", path, NULL);
    assert_int_equal(s.status, EXIT_GOOD);
    struct key_pair pair;
    struct stat st;
    assert_int_equal(key_pair_load(path, &pair, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(strncmp(s.output, pair.public_z85, strlen(pair.public_z85)), 0);
    assert_null(strstr(s.output, pair.secret_z85));
    assert_null(strstr(s.error, pair.secret_z85));
    said_clear(&s);
    expect(coordctl("keys", "make", path, NULL), EXIT_USAGE, NULL, "is not overwritten");
    struct key_pair again;
    assert_int_equal(key_pair_load(path, &again, NULL), 0);
    assert_memory_equal(&pair, &again, sizeof pair);
}

static void allow_takes_a_key_or_a_file_and_list_shows_it(void **state)
{
    (void)state;
    cleanup_free char *keys = fs_path("%s/keys", folder);
    cleanup_free char *path = fs_path("%s/b.key", folder);
    struct key_pair a, b;
    assert_int_equal(key_pair_make(&a, NULL), 0);
    assert_int_equal(key_pair_make(&b, NULL), 0);
    assert_int_equal(key_pair_save(path, &b, NULL), 0);
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "host-a", a.public_z85, NULL),
           EXIT_GOOD, NULL, "agent `host-a` may connect");
    expect(coordctl("keys", "--keys", keys, "allow", "--client", "anna", path, NULL), EXIT_GOOD,
           NULL, "client `anna` may connect");
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "anna", path, NULL), EXIT_USAGE,
           NULL, "already, as client `anna`");
    expect(coordctl("keys", "--keys", keys, "list", NULL), EXIT_GOOD, a.public_z85, NULL);
    expect(coordctl("keys", "--keys", keys, "list", NULL), EXIT_GOOD, b.public_z85, NULL);
    cleanup_free char *allowed = fs_path("%s/clients/anna.key", keys);
    cleanup_free char *text = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(allowed, 4096, &text, &length, NULL), 0);
    assert_null(strstr(text, b.secret_z85)); /* the file given held a secret too */
}

static void a_key_expires_is_rotated_and_revoked(void **state)
{
    (void)state;
    cleanup_free char *keys = fs_path("%s/life", folder);
    cleanup_free char *own = fs_path("%s/agent.key", folder);
    cleanup_free char *next = fs_path("%s.next", own);
    struct key_pair first, second;
    expect(coordctl("keys", "make", own, NULL), EXIT_GOOD, NULL, NULL);
    assert_int_equal(key_pair_load(own, &first, NULL), 0);
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "b", own, "--expires", "30d", NULL),
           EXIT_GOOD, NULL, "may connect until 2");
    expect(coordctl("keys", "--keys", keys, "list", NULL), EXIT_GOOD, "  expires 2", NULL);
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "b", own, "--expires",
                    "2001-01-01T00:00:00Z", NULL),
           EXIT_USAGE, NULL, "is in the past");
    expect(
        coordctl("keys", "--keys", keys, "allow", "--agent", "b", own, "--expires", "soon", NULL),
        EXIT_USAGE, NULL, "`soon` is no time: expected one like 2026-12-24T10:00:00Z");
    expect(coordctl("keys", "rotate", own, NULL), EXIT_GOOD, NULL, "agent.key.next");
    assert_int_equal(key_pair_load(next, &second, NULL), 0);
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "b", second.public_z85, NULL),
           EXIT_USAGE, NULL, "`coordctl keys rotate` gives it a further one");
    expect(coordctl("keys", "--keys", keys, "rotate", "--agent", "c", second.public_z85, NULL),
           EXIT_USAGE, NULL, "has no key in force");
    expect(coordctl("keys", "--keys", keys, "rotate", "--agent", "b", second.public_z85, NULL),
           EXIT_GOOD, NULL, "its earlier key is allowed until 2");
    expect(coordctl("keys", "--keys", keys, "revoke", "b", first.public_z85, NULL), EXIT_GOOD, NULL,
           "agent `b` is out with this key");
    expect(coordctl("keys", "--keys", keys, "list", NULL), EXIT_GOOD, "  revoked 2", NULL);
    struct key_table *t = NULL;
    assert_int_equal(key_table_load(keys, &t, NULL), 0);
    int64_t now_ns = clock_realtime_ns();
    assert_int_equal(key_state(key_table_find(t, first.public_z85), now_ns), KEY_REVOKED);
    assert_int_equal(key_state(key_table_find(t, second.public_z85), now_ns), KEY_ALLOWED);
    assert_string_equal(key_table_find(t, second.public_z85)->source_z85, first.public_z85);
    key_table_free(t);
    expect(coordctl("keys", "--keys", keys, "revoke", "b", NULL), EXIT_GOOD, NULL, "is out");
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "b", own, NULL), EXIT_USAGE, NULL,
           "this key was revoked at 2");
    expect(coordctl("keys", "--keys", keys, "revoke", "nobody", NULL), EXIT_USAGE, NULL,
           "nobody of the name `nobody`");
}

static void what_is_wrong_is_told_and_nothing_written(void **state)
{
    (void)state;
    cleanup_free char *keys = fs_path("%s/none", folder);
    struct key_pair a;
    assert_int_equal(key_pair_make(&a, NULL), 0);
    expect(coordctl("keys", "--keys", keys, "list", NULL), EXIT_USAGE, NULL,
           "cannot read the keys");
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "../x", a.public_z85, NULL),
           EXIT_USAGE, NULL, "is not a name");
    expect(coordctl("keys", "--keys", keys, "allow", "--agent", "x", "short", NULL), EXIT_USAGE,
           NULL, "neither a public key");
    expect(coordctl("keys", "--keys", keys, "allow", a.public_z85, NULL), EXIT_USAGE, NULL,
           "expected `allow --agent NAME KEY`");
    expect(coordctl("keys", "frob", NULL), EXIT_USAGE, NULL, "expected");
    assert_false(fs_exists(keys));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_prints_the_public_key_of_a_pair_that_only_its_owner_reads),
        cmocka_unit_test(allow_takes_a_key_or_a_file_and_list_shows_it),
        cmocka_unit_test(a_key_expires_is_rotated_and_revoked),
        cmocka_unit_test(what_is_wrong_is_told_and_nothing_written),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
