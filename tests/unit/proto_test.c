/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames, caps, settings, recipes, and keys, without sockets. */
#include "common/catalog/catalog.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/caps.h"
#include "proto/frame.h"
#include "proto/key_table.h"
#include "proto/recipe.h"
#include "proto/settings.h"
#include "tests/cmocka_with_needs.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char folder[] = "/tmp/plimsoll-proto-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return fs_remove_tree(folder, NULL);
}

static Plimsoll__Envelope beat(void)
{
    static Plimsoll__Beat inner = PLIMSOLL__BEAT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.request = 7;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BEAT;
    m.beat = &inner;
    return m;
}

/* Decodes header and body given apart; the error must contain `what`, NULL: it must succeed. */
static void decode_body(const ProtobufCMessageDescriptor *type, const void *body, size_t length,
                        const char *what)
{
    cleanup_free uint8_t *frame = calloc(1, FRAME_HEADER_BYTES + length);
    memcpy(frame, "PL\1", 3);
    for (unsigned i = 0; i < 4; i++)
        frame[4 + i] = (uint8_t)(length >> (24 - 8 * i));
    memcpy(frame + FRAME_HEADER_BYTES, body, length);
    cleanup_err struct err e = ERR_INIT;
    ProtobufCMessage *m = NULL;
    int failed = frame_decode(type, frame, FRAME_HEADER_BYTES + length, &m, &e);
    frame_free(m);
    if (!what && failed)
        fail_msg("%s", err_text(&e));
    if (what && (!failed || !strstr(err_text(&e), what) || e.code != ERR_PROTOCOL))
        fail_msg("expected \"%s\", got \"%s\"", what, err_text(&e));
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    Plimsoll__Envelope m = beat();
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&m.base, &frame, &length, NULL), 0);
    ProtobufCMessage *back = NULL;
    assert_int_equal(frame_decode(&plimsoll__envelope__descriptor, frame, length, &back, NULL), 0);
    assert_int_equal(((Plimsoll__Envelope *)back)->request, 7);
    assert_int_equal(((Plimsoll__Envelope *)back)->kind_case, PLIMSOLL__ENVELOPE__KIND_BEAT);
    frame_free(back);
    /* Any prefix is no frame. */
    for (size_t n = 0; n < length; n++)
        assert_int_equal(frame_decode(&plimsoll__envelope__descriptor, frame, n, &back, NULL), -1);
    free(frame);
}

static void malformed_bodies_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *e = &plimsoll__envelope__descriptor;
    decode_body(e, "", 0, "empty, or of a kind unknown here");
    decode_body(e, "\x80", 1, "ends within a number");
    decode_body(e, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 12, "ten bytes");
    decode_body(e, "\x2a\1", 2, "beyond the message");
    decode_body(e, "\x2a\0\x2a\0", 4, "more than once");
    decode_body(e, "\x2a\0\x22\0", 4, "more than once"); /* two members of the oneof */
    decode_body(e, "\x2b\0", 2, "another type");         /* a group */
    decode_body(e, "\x0a\0", 2, "another type");         /* the request as a text */
    decode_body(e, "\2\0", 2, "out of range");
    decode_body(e, "\x5a\0", 2, "Result.lease: missing");
    decode_body(e, "\x12\3\x0a\1\7", 5, "Hello.name: a control character");
    decode_body(e, "\x12\3\x0a\1\0", 5, "Hello.name: a control character");
    decode_body(e, "\x12\4\x0a\2\xc2\x9b", 6, "Hello.name: a control character");
    decode_body(e, "\x12\3\x0a\1\xff", 5, "Hello.name: not UTF-8");
    decode_body(e, "\x12\4\x0a\2\xc0\x80", 6, "Hello.name: not UTF-8"); /* an overlong NUL */
    decode_body(e, "\x5a\4\x1a\0\x20\x63", 6, "does not have");         /* outcome 99 */
    decode_body(e, "\x2a\0\xfa\7\1x", 6, NULL); /* a newer program's field is passed over */
}

/* A repeated empty submessage costs two bytes to send and a hundred to hold. */
static void a_megabyte_of_empty_parts_is_refused_before_it_costs_memory(void **state)
{
    (void)state;
    enum { MANY = 400000 };
    cleanup_free uint8_t *body = malloc(16 + 2 * MANY);
    size_t result = 2 + 2 * MANY, n = 0;
    body[n++] = 0x5a; /* Envelope.result */
    for (size_t v = result; v; v >>= 7)
        body[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    body[n++] = 0x1a; /* Result.lease */
    body[n++] = 0;
    for (size_t i = 0; i < MANY; i++) {
        body[n++] = 0x32; /* Result.samples */
        body[n++] = 0;
    }
    decode_body(&plimsoll__envelope__descriptor, body, n, "Result.samples: too many elements");
}

/* Within every cap, and yet more than the budget: a plan of cells that hold little. */
static void what_fits_the_caps_and_not_the_budget_is_refused(void **state)
{
    (void)state;
    enum { CELLS = 12000, CELL_BYTES = 4 + 4 * 16 };
    cleanup_free uint8_t *body = malloc(CELLS * (CELL_BYTES + 2));
    size_t n = 0;
    for (size_t i = 0; i < CELLS; i++) {
        body[n++] = 0x1a; /* Plan.cells */
        body[n++] = CELL_BYTES;
        memcpy(body + n, "\x1a\0\x22\0", 4); /* probe, guest */
        n += 4;
        for (int f = 0; f < 16; f++) {
            memcpy(body + n, "\x3a\2\x0a\0", 4); /* a factor with an empty key */
            n += 4;
        }
    }
    decode_body(&plimsoll__plan__descriptor, body, n, "bytes of memory");
}

static void walk_types(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    if (depth > 12)
        fail_msg("%s nests in itself", type->name);
    assert_true(type->n_fields <= 64);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED && caps_most_elements(type, f) == 0)
            fail_msg("%s.%s has no cap in proto/caps.c", type->name, f->name);
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            walk_types(f->descriptor, depth + 1);
    }
}

static void every_repeated_field_has_a_cap_and_no_type_nests_in_itself(void **state)
{
    (void)state;
    walk_types(&plimsoll__envelope__descriptor, 0);
    walk_types(&plimsoll__runner__descriptor, 0);
    walk_types(&plimsoll__guestd_request__descriptor, 0);
    walk_types(&plimsoll__guestd_reply__descriptor, 0);
    walk_types(&plimsoll__plan_reading__descriptor, 0);
}

static void logs_are_cleaned_by_the_sender_and_names_are_not(void **state)
{
    (void)state;
    Plimsoll__GuestdReply reply = PLIMSOLL__GUESTD_REPLY__INIT;
    reply.error = "red \033[31m, C1 \xc2\x9b"
                  "31m, bad \xff, euro \xe2\x82\xac,\n end";
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&reply.base, &frame, &length, NULL), 0);
    ProtobufCMessage *m = NULL;
    assert_int_equal(frame_decode(&plimsoll__guestd_reply__descriptor, frame, length, &m, NULL), 0);
    assert_string_equal(((Plimsoll__GuestdReply *)m)->error,
                        "red ?[31m, C1 ??31m, bad ?, euro \xe2\x82\xac,\n end");
    frame_free(m);
    free(frame);
    Plimsoll__ContainerStop stop = PLIMSOLL__CONTAINER_STOP__INIT;
    stop.name = "two\nlines";
    assert_int_equal(frame_encode(&stop.base, &frame, &length, NULL), -1);
}

static void a_stream_cut_anywhere_gives_the_same_frames(void **state)
{
    (void)state;
    Plimsoll__Envelope m = beat();
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&m.base, &frame, &length, NULL), 0);
    for (size_t step = 1; step < 3 * length; step++) {
        struct frame_stream *s = frame_stream_new(1024);
        cleanup_free uint8_t *all = malloc(5 * length);
        for (int i = 0; i < 5; i++)
            memcpy(all + (size_t)i * length, frame, length);
        int found = 0;
        for (size_t at = 0; at < 5 * length; at += step) {
            size_t n = 5 * length - at < step ? 5 * length - at : step;
            assert_int_equal(frame_stream_feed(s, all + at, n, NULL), 0);
            const uint8_t *whole;
            size_t whole_length;
            while (frame_stream_next(s, &whole, &whole_length, NULL) == 1) {
                assert_int_equal(whole_length, length);
                assert_memory_equal(whole, frame, length);
                found++;
            }
        }
        assert_int_equal(found, 5);
        frame_stream_free(s);
    }
    free(frame);
}

static void a_stream_out_of_step_or_over_its_cap_is_broken(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    struct frame_stream *s = frame_stream_new(64);
    assert_int_equal(frame_stream_feed(s, "PL\1\0\0\0\0\100", 8, &e), -1);
    assert_non_null(strstr(err_text(&e), "at most 56"));
    frame_stream_free(s);
    s = frame_stream_new(64);
    assert_int_equal(frame_stream_feed(s, "login: ", 7, NULL), 0); /* no header yet */
    assert_int_equal(frame_stream_feed(s, "root", 4, &e), -1);
    assert_int_equal(e.code, ERR_PROTOCOL);
    frame_stream_free(s);
}

static void frames_pass_through_a_socket_and_end_of_file_is_told(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    Plimsoll__Envelope m = beat();
    int64_t deadline_ns = clock_monotonic_ns() + 5 * NS_PER_S;
    assert_int_equal(frame_write(fds[0], &m.base, deadline_ns, NULL), 0);
    assert_int_equal(frame_write(fds[0], &m.base, deadline_ns, NULL), 0);
    ProtobufCMessage *back = NULL;
    const ProtobufCMessageDescriptor *type = &plimsoll__envelope__descriptor;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(frame_read(fds[1], type, deadline_ns, &back, NULL), 0);
        frame_free(back);
    }
    cleanup_err struct err e = ERR_INIT;
    int64_t soon_ns = clock_monotonic_ns() + 20 * NS_PER_MS;
    assert_int_equal(frame_read(fds[1], type, soon_ns, &back, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    close(fds[0]);
    assert_int_equal(frame_read(fds[1], type, deadline_ns, &back, &e), -1);
    assert_int_equal(e.code, ERR_PROTOCOL);
    assert_int_equal(e.errnum, ECONNRESET);
    assert_int_equal(frame_write(fds[1], &m.base, deadline_ns, &e), -1); /* and no SIGPIPE */
    close(fds[1]);
}

static void a_peer_that_does_not_read_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    Plimsoll__Blob blob = PLIMSOLL__BLOB__INIT;
    blob.data.len = 512 << 10;
    blob.data.data = calloc(1, blob.data.len);
    cleanup_err struct err e = ERR_INIT;
    int64_t begin_ns = clock_monotonic_ns();
    assert_int_equal(frame_write(fds[0], &blob.base, begin_ns + 50 * NS_PER_MS, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_true(clock_monotonic_ns() - begin_ns < 5 * NS_PER_S);
    free(blob.data.data);
    close(fds[0]);
    close(fds[1]);
}

/* ---- Settings and recipes ----------------------------------------------------------------------
 */

static const char *const colours[] = {"red", "blue", NULL};
static const struct key_row rows[] = {
    {.name = "suite", .type = KEY_NAME, .required = true},
    {.name = "cpus", .type = KEY_INTEGER, .least = 1, .most = 8},
    {.name = "colour", .type = KEY_CHOICE, .choices = colours},
    {.name = "packages", .type = KEY_TEXT, .is_list = true, .most = 16},
    {.name = "ratio", .type = KEY_REAL, .least = 0, .most = 1},
    {.name = "fast", .type = KEY_FLAG},
    {.name = "unit", .type = KEY_TEXT, .least = 1, .most = 8, .letters = "abc.@"},
    {.name = NULL},
};

static char *items[] = {"plain", "two words", "", "back\\slash"};
static Plimsoll__Strings list = {PROTOBUF_C_MESSAGE_INIT(&plimsoll__strings__descriptor), 4, items};

struct sample_section {
    Plimsoll__Value values[5];
    Plimsoll__Setting settings[5];
    Plimsoll__Setting *pointers[5];
    Plimsoll__Section section;
};

static void set(struct sample_section *s, const char *key, Plimsoll__Value value)
{
    size_t i = s->section.n_settings++;
    s->values[i] = value;
    plimsoll__setting__init(&s->settings[i]);
    s->settings[i].key = (char *)key;
    s->settings[i].value = &s->values[i];
    s->pointers[i] = &s->settings[i];
    s->section.settings = s->pointers;
}

#define VALUE(kind, member, x)                                                                     \
    ((Plimsoll__Value){PROTOBUF_C_MESSAGE_INIT(&plimsoll__value__descriptor),                      \
                       PLIMSOLL__VALUE__KIND_##kind,                                               \
                       {.member = (x)}})

static void fill(struct sample_section *s)
{
    plimsoll__section__init(&s->section);
    s->section.name = "debian";
    set(s, "suite", VALUE(TEXT, text, "bookworm"));
    set(s, "packages", VALUE(LIST, list, &list));
    set(s, "cpus", VALUE(INTEGER, integer, 2));
    set(s, "fast", VALUE(FLAG, flag, 1));
}

static void settings_are_read_by_type(void **state)
{
    (void)state;
    struct sample_section s;
    fill(&s);
    assert_int_equal(settings_check(&s.section, rows, NULL), 0);
    assert_string_equal(settings_text(&s.section, "suite"), "bookworm");
    assert_null(settings_text(&s.section, "colour"));
    assert_int_equal(settings_integer(&s.section, "cpus", 9), 2);
    assert_int_equal(settings_integer(&s.section, "gpus", 9), 9);
    assert_true(settings_flag(&s.section, "fast", false));
    assert_true(settings_real(&s.section, "ratio", 0.5) == 0.5);
    assert_int_equal(settings_list(&s.section, "packages")->n_item, 4);
    s.section.n_settings = 0;
}

static void expect_wrong(const char *key, Plimsoll__Value value, const char *what)
{
    struct sample_section s;
    fill(&s);
    set(&s, key, value);
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(settings_check(&s.section, rows, &e), -1);
    if (!strstr(err_text(&e), what) || !strstr(err_text(&e), "section `debian`"))
        fail_msg("expected \"%s\" in \"%s\"", what, err_text(&e));
}

static void what_a_peer_sent_is_checked_against_the_catalog(void **state)
{
    (void)state;
    expect_wrong("memroy", VALUE(INTEGER, integer, 1), "unknown key `memroy`");
    expect_wrong("cpus", VALUE(INTEGER, integer, 1), "`cpus` is given twice");
    expect_wrong("colour", VALUE(TEXT, text, "green"), "none of its choices");
    expect_wrong("colour", VALUE(INTEGER, integer, 1), "another type");
    expect_wrong("ratio", VALUE(REAL, real, 1.5), "out of range");
    expect_wrong("ratio", VALUE(REAL, real, 0.0 / 0.0), "out of range");
    expect_wrong("unit", VALUE(TEXT, text, "a/b"), "may not have");
    expect_wrong("unit", VALUE(TEXT, text, "@a"), "may not have");
    expect_wrong("unit", VALUE(TEXT, text, ""), "empty");
    struct sample_section s;
    fill(&s);
    set(&s, "unit", VALUE(TEXT, text, "a@b.c"));
    assert_int_equal(settings_check(&s.section, rows, NULL), 0);
    fill(&s);
    s.values[2].integer = 9;
    assert_int_equal(settings_check(&s.section, rows, NULL), -1);
    s.values[2].integer = 8;
    assert_int_equal(settings_check(&s.section, rows, NULL), 0);
    s.values[0].text = "../etc";
    assert_int_equal(settings_check(&s.section, rows, NULL), -1);
    cleanup_err struct err e = ERR_INIT;
    s.section.settings++;
    s.section.n_settings--;
    assert_int_equal(settings_check(&s.section, rows, &e), -1);
    assert_non_null(strstr(err_text(&e), "`suite` is missing"));
}

static void a_recipe_is_one_text_whatever_the_order(void **state)
{
    (void)state;
    struct sample_section s;
    fill(&s);
    cleanup_free char *text = NULL, *again = NULL;
    assert_int_equal(recipe_text(&s.section, &text, NULL), 0);
    assert_string_equal(text, "cpus = 2\nfast = true\n"
                              "packages = plain two\\swords \\e back\\\\slash\n"
                              "suite = bookworm\n");
    char digest[DIGEST_TEXT_BYTES], other[DIGEST_TEXT_BYTES];
    assert_int_equal(recipe_digest(&s.section, digest, NULL), 0);
    Plimsoll__Setting *first = s.pointers[0];
    s.pointers[0] = s.pointers[3];
    s.pointers[3] = first;
    assert_int_equal(recipe_text(&s.section, &again, NULL), 0);
    assert_string_equal(text, again);
    s.values[2].integer = 3;
    assert_int_equal(recipe_digest(&s.section, other, NULL), 0);
    assert_string_not_equal(digest, other);
}

/* A setting of value zero or "" must arrive as that, not as absent: it is a member of a oneof. */
static void zero_and_empty_values_survive_the_wire(void **state)
{
    (void)state;
    struct sample_section s;
    fill(&s);
    s.values[2].integer = 0;
    s.values[3].flag = 0;
    s.values[0].text = "";
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&s.section.base, &frame, &length, NULL), 0);
    ProtobufCMessage *m = NULL;
    assert_int_equal(frame_decode(&plimsoll__section__descriptor, frame, length, &m, NULL), 0);
    const Plimsoll__Section *back = (const Plimsoll__Section *)m;
    assert_int_equal(settings_integer(back, "cpus", 5), 0);
    assert_false(settings_flag(back, "fast", true));
    assert_string_equal(settings_text(back, "suite"), "");
    frame_free(m);
    free(frame);
}

/* ---- Keys --------------------------------------------------------------------------------------
 */

static void a_pair_is_saved_for_its_owner_alone_and_never_over_another(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/own.key", folder);
    struct key_pair pair, back;
    struct stat st;
    assert_int_equal(key_pair_make(&pair, NULL), 0);
    assert_int_equal(key_pair_save(path, &pair, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(key_pair_load(path, &back, NULL), 0);
    assert_memory_equal(&pair, &back, sizeof pair);
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(key_pair_save(path, &back, &e), -1);
    assert_non_null(strstr(err_text(&e), "not overwritten"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(key_pair_load(path, &back, &e), -1);
    assert_non_null(strstr(err_text(&e), "it has 0644"));
}

static void a_folder_that_hands_its_group_down_lets_the_group_read_and_no_more(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    char shared[] = "/tmp/plimsoll-proto-XXXXXX";
    struct key_pair pair;
    struct stat st;
    assert_non_null(mkdtemp(shared));
    assert_int_equal(chmod(shared, 02750), 0);
    cleanup_free char *own = fs_path("%s/own.key", shared);
    cleanup_free char *other = fs_path("%s/agents/b.key", shared);
    assert_int_equal(key_pair_make(&pair, &e), 0);
    assert_int_equal(key_pair_save(own, &pair, &e), 0);
    assert_int_equal(stat(own, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(key_pair_load(own, &pair, &e), geteuid() == 0 ? 0 : -1);
    assert_int_equal(key_table_allow(shared, KEY_ROLE_AGENT, "b", pair.public_z85, 0, &e), 0);
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    *strrchr(other, '/') = '\0';
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_mode & 07777, 02750);
    assert_int_equal(fs_remove_tree(shared, NULL), 0);
}

static void bad_key_files_are_told_by_line(void **state)
{
    (void)state;
    struct key_pair one, other;
    char public_only[128], mixed[256];
    key_pair_make(&one, NULL);
    key_pair_make(&other, NULL);
    snprintf(public_only, sizeof public_only, "public = \"%s\"\n", one.public_z85);
    snprintf(mixed, sizeof mixed, "public = \"%s\"\nsecret = \"%s\"\n", one.public_z85,
             other.secret_z85);
    const struct {
        const char *text, *what;
    } cases[] = {
        {"", "`public = \"...\"` is missing"},
        {"# a comment\npublic = \"short\"\n", "bad.key:2: expected"},
        {"public: \"0123456789012345678901234567890123456789\"\n", "bad.key:1: expected"},
        {"secrets\n", "bad.key:1: expected"},
        {"public = \"~123456789012345678901234567890123456789\"\n", "bad.key:1: expected"},
        {public_only, "`secret = \"...\"` is missing"},
        {mixed, "are not a pair"},
    };
    cleanup_free char *path = fs_path("%s/bad.key", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup_err struct err e = ERR_INIT;
        struct key_pair pair;
        unlink(path);
        assert_int_equal(fs_write_atomic(path, cases[i].text, strlen(cases[i].text), 0600, NULL),
                         0);
        assert_int_equal(key_pair_load(path, &pair, &e), -1);
        if (!strstr(err_text(&e), cases[i].what))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].what, err_text(&e));
    }
    unlink(path);
}

static void one_key_has_one_name_and_one_role(void **state)
{
    (void)state;
    struct key_pair a, b;
    cleanup_err struct err e = ERR_INIT;
    key_pair_make(&a, NULL);
    key_pair_make(&b, NULL);
    assert_int_equal(key_table_allow(folder, KEY_ROLE_AGENT, "a", a.public_z85, 0, NULL), 0);
    assert_int_equal(key_table_allow(folder, KEY_ROLE_AGENT, "a", a.public_z85, 0, NULL), 0);
    assert_int_equal(key_table_allow(folder, KEY_ROLE_CLIENT, "x", a.public_z85, 0, &e), -1);
    assert_non_null(strstr(err_text(&e), "already, as agent `a`"));
    assert_int_equal(key_table_allow(folder, KEY_ROLE_AGENT, "a", b.public_z85, 0, &e), -1);
    assert_non_null(strstr(err_text(&e), "with another key"));
    assert_int_equal(key_table_allow(folder, KEY_ROLE_AGENT, "../a", b.public_z85, 0, &e), -1);
    assert_int_equal(key_table_allow(folder, KEY_ROLE_AGENT, "b", "short", 0, &e), -1);
    assert_int_equal(key_table_allow(folder, KEY_ROLE_CLIENT, "b", b.public_z85, 0, NULL), 0);
    /* Junk beside the keys harms nobody. */
    cleanup_free char *junk = fs_path("%s/agents/junk.key", folder);
    assert_int_equal(fs_write_atomic(junk, "?", 1, 0600, NULL), 0);
    struct key_table *t = NULL;
    assert_int_equal(key_table_load(folder, &t, NULL), 0);
    assert_int_equal(key_table_count(t), 2);
    assert_int_equal(key_table_find(t, a.public_z85)->role, KEY_ROLE_AGENT);
    assert_string_equal(key_table_find(t, a.public_z85)->name, "a");
    assert_int_equal(key_table_find(t, b.public_z85)->role, KEY_ROLE_CLIENT);
    assert_null(key_table_find(t, "nobody"));
    key_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(malformed_bodies_are_refused_with_what_is_wrong),
        cmocka_unit_test(a_megabyte_of_empty_parts_is_refused_before_it_costs_memory),
        cmocka_unit_test(what_fits_the_caps_and_not_the_budget_is_refused),
        cmocka_unit_test(every_repeated_field_has_a_cap_and_no_type_nests_in_itself),
        cmocka_unit_test(logs_are_cleaned_by_the_sender_and_names_are_not),
        cmocka_unit_test(a_stream_cut_anywhere_gives_the_same_frames),
        cmocka_unit_test(a_stream_out_of_step_or_over_its_cap_is_broken),
        cmocka_unit_test(frames_pass_through_a_socket_and_end_of_file_is_told),
        cmocka_unit_test(a_peer_that_does_not_read_is_given_up_at_the_deadline),
        cmocka_unit_test(settings_are_read_by_type),
        cmocka_unit_test(what_a_peer_sent_is_checked_against_the_catalog),
        cmocka_unit_test(a_recipe_is_one_text_whatever_the_order),
        cmocka_unit_test(zero_and_empty_values_survive_the_wire),
        cmocka_unit_test(a_pair_is_saved_for_its_owner_alone_and_never_over_another),
        cmocka_unit_test(a_folder_that_hands_its_group_down_lets_the_group_read_and_no_more),
        cmocka_unit_test(bad_key_files_are_told_by_line),
        cmocka_unit_test(one_key_has_one_name_and_one_role),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
