/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/caps.h"

#include "proto/plimsoll.pb-c.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum {
    MOST_NESTING = 16,
    MOST_FIELDS = 64,  /* of one type; a test walks them all */
    MOST_UNKNOWN = 64, /* fields of a newer program, in one message */
    LINE_BYTES = 4096,
    PROSE_BYTES = 64 << 10,
    PLAN_BYTES = 256 << 10,
    BLOB_BYTES = 512 << 10,
};

/* Which characters a text may have. None may hold a NUL: in C it would end there. */
enum alphabet {
    LINE,  /* no control characters: names, paths, one line on a screen */
    PROSE, /* tab, newline, and carriage return too: logs and reasons */
    TEXT,  /* anything: somebody else's file, whose reader checks it */
};

struct text_row {
    const ProtobufCMessageDescriptor *type;
    const char *field;
    uint32_t most_bytes;
    enum alphabet alphabet;
};

/* Texts that are not a LINE of LINE_BYTES. */
static const struct text_row text_rows[] = {
    {&plimsoll__value__descriptor, "text", 16 << 10, PROSE},
    {&plimsoll__strings__descriptor, "item", 16 << 10, PROSE},
    {&plimsoll__exec__descriptor, "argv", 16 << 10, PROSE},
    {&plimsoll__container_start__descriptor, "argv", 16 << 10, PROSE},
    {&plimsoll__plan__descriptor, "text", PLAN_BYTES, TEXT},
    {&plimsoll__submit__descriptor, "plan", PLAN_BYTES, TEXT},
    {&plimsoll__factor__descriptor, "value", 16 << 10, PROSE},
    {&plimsoll__fact__descriptor, "value", 16 << 10, PROSE},
    {&plimsoll__text__descriptor, "text", PROSE_BYTES, PROSE},
    {&plimsoll__diagnostic__descriptor, "text", PROSE_BYTES, PROSE},
    {&plimsoll__offer__descriptor, "reason", PROSE_BYTES, PROSE},
    {&plimsoll__offer__descriptor, "note", PROSE_BYTES, PROSE},
    {&plimsoll__refuse__descriptor, "reason", PROSE_BYTES, PROSE},
    {&plimsoll__result__descriptor, "reason", PROSE_BYTES, PROSE},
    {&plimsoll__attempt__descriptor, "reason", PROSE_BYTES, PROSE},
    {&plimsoll__failure__descriptor, "text", PROSE_BYTES, PROSE},
    {&plimsoll__missing__descriptor, "reason", PROSE_BYTES, PROSE},
    {&plimsoll__campaign__descriptor, "note", PROSE_BYTES, PROSE},
    {&plimsoll__guestd_reply__descriptor, "error", PROSE_BYTES, PROSE},
    {&plimsoll__finished__descriptor, "output", PROSE_BYTES, TEXT},
    {&plimsoll__blob__descriptor, "data", BLOB_BYTES, TEXT},
};

struct count_row {
    const ProtobufCMessageDescriptor *type;
    const char *field;
    uint32_t most;
};

static const struct count_row count_rows[] = {
    {&plimsoll__strings__descriptor, "item", 4096},
    {&plimsoll__section__descriptor, "settings", 128},
    {&plimsoll__cell__descriptor, "factors", 64},
    {&plimsoll__plan__descriptor, "cells", 16384},
    {&plimsoll__plan__descriptor, "references", 4096},
    {&plimsoll__plan_reading__descriptor, "diagnostics", 4096},
    {&plimsoll__fingerprint__descriptor, "facts", 1024},
    {&plimsoll__prepare__descriptor, "guests", 1024},
    {&plimsoll__prepare__descriptor, "images", 1024},
    {&plimsoll__prepared__descriptor, "offers", 4096},
    {&plimsoll__result__descriptor, "samples", 16384},
    {&plimsoll__result__descriptor, "conditions", 256},
    {&plimsoll__result__descriptor, "texts", 64},
    {&plimsoll__submit__descriptor, "origins", 16384},
    {&plimsoll__submitted__descriptor, "diagnostics", 4096},
    {&plimsoll__campaign__descriptor, "activity", 4096},
    {&plimsoll__campaign__descriptor, "missing", 4096},
    {&plimsoll__campaigns__descriptor, "campaigns", 4096},
    {&plimsoll__hosts__descriptor, "hosts", 4096},
    {&plimsoll__attempt__descriptor, "samples", 16384},
    {&plimsoll__attempt__descriptor, "conditions", 256},
    {&plimsoll__attempt__descriptor, "texts", 64},
    {&plimsoll__shown__descriptor, "attempts", 64},
    {&plimsoll__exec__descriptor, "argv", 1024},
    {&plimsoll__container_create__descriptor, "items", 1024},
    {&plimsoll__container_start__descriptor, "argv", 1024},
};

/* Parts without which a message means nothing: whoever receives it may rely on them. A oneof is
 * named by any of its members. */
struct needed_row {
    const ProtobufCMessageDescriptor *type;
    const char *field;
};

static const struct needed_row needed_rows[] = {
    {&plimsoll__envelope__descriptor, "hello"},
    {&plimsoll__runner__descriptor, "mark"},
    {&plimsoll__guestd_request__descriptor, "create"},
    {&plimsoll__value__descriptor, "text"},
    {&plimsoll__setting__descriptor, "value"},
    {&plimsoll__cell__descriptor, "probe"},
    {&plimsoll__cell__descriptor, "guest"},
    {&plimsoll__assign__descriptor, "lease"},
    {&plimsoll__assign__descriptor, "cell"},
    {&plimsoll__cancel__descriptor, "lease"},
    {&plimsoll__progress__descriptor, "lease"},
    {&plimsoll__result__descriptor, "lease"},
};

struct walk {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *at, *end;
    unsigned depth;
    bool clean;
    struct err *e;
};

static const struct text_row *text_row_find(const ProtobufCMessageDescriptor *type,
                                            const char *field)
{
    for (size_t i = 0; i < sizeof text_rows / sizeof *text_rows; i++)
        if (text_rows[i].type == type && strcmp(text_rows[i].field, field) == 0)
            return &text_rows[i];
    return NULL;
}

uint32_t caps_most_elements(const ProtobufCMessageDescriptor *type,
                            const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; i < sizeof count_rows / sizeof *count_rows; i++)
        if (count_rows[i].type == type && strcmp(count_rows[i].field, field->name) == 0)
            return count_rows[i].most;
    return 0;
}

static int bad(const struct walk *w, const char *what)
{
    return err_set(w->e, ERR_PROTOCOL, "%s: %s", w->type->short_name, what);
}

static int bad_field(const struct walk *w, const ProtobufCFieldDescriptor *f, const char *what)
{
    return err_set(w->e, ERR_PROTOCOL, "%s.%s: %s", w->type->short_name, f->name, what);
}

static int take_varint(struct walk *w, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at == w->end)
            return bad(w, "ends within a number");
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return bad(w, "a number of more than ten bytes");
}

static bool control_allowed(enum alphabet alphabet, uint8_t c)
{
    if (c == 0)
        return false;
    if (c >= 0x20 && c != 0x7f)
        return true;
    return alphabet == TEXT || (alphabet == PROSE && (c == '\t' || c == '\n' || c == '\r'));
}

/* Bytes of the UTF-8 sequence at `at`, 0 when it is none; RFC 3629, table of section 4: no overlong
 * forms, no surrogates, nothing beyond U+10FFFF. */
static size_t utf8_sequence(const uint8_t *at, const uint8_t *end)
{
    uint8_t least = 0x80, most = 0xbf;
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (length <= 1)
        return length;
    if (at[0] > 0xf4 || (size_t)(end - at) < length)
        return 0;
    if (at[0] == 0xe0)
        least = 0xa0;
    else if (at[0] == 0xed)
        most = 0x9f;
    else if (at[0] == 0xf0)
        least = 0x90;
    else if (at[0] == 0xf4)
        most = 0x8f;
    for (size_t i = 1; i < length; i++, least = 0x80, most = 0xbf)
        if (at[i] < least || at[i] > most)
            return 0;
    return length;
}

static int check_characters(const struct walk *w, const ProtobufCFieldDescriptor *f,
                            enum alphabet alphabet, const uint8_t *bytes, size_t length)
{
    const uint8_t *end = bytes + length;
    for (const uint8_t *at = bytes; at < end;) {
        size_t step = alphabet == TEXT ? 1 : utf8_sequence(at, end);
        /* A terminal obeys U+0080 to U+009F too: U+009B begins what ESC [ does. */
        bool good = control_allowed(alphabet, *at) && !(step == 2 && at[0] == 0xc2 && at[1] < 0xa0);
        if (good && step > 0) {
            at += step;
            continue;
        }
        if (!w->clean || alphabet != PROSE)
            return bad_field(w, f, good ? "not UTF-8" : "a control character");
        *(uint8_t *)at++ = '?'; /* caps_clean was given writable bytes */
    }
    return 0;
}

static int check_text(const struct walk *w, const ProtobufCFieldDescriptor *f, const uint8_t *bytes,
                      size_t length)
{
    const struct text_row *row = text_row_find(w->type, f->name);
    if (length > (row ? row->most_bytes : LINE_BYTES))
        return bad_field(w, f, "the text is too long");
    if (f->type == PROTOBUF_C_TYPE_BYTES)
        return 0;
    return check_characters(w, f, row ? row->alphabet : LINE, bytes, length);
}

static int walk_message(struct walk *w);

static int check_delimited(struct walk *w, const ProtobufCFieldDescriptor *f, size_t length)
{
    const uint8_t *bytes = w->at;
    w->at += length;
    if (!f)
        return 0;
    if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES)
        return check_text(w, f, bytes, length);
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return bad_field(w, f, "a number was expected");
    if (w->depth == MOST_NESTING)
        return bad_field(w, f, "nested too deeply");
    struct walk inner = {f->descriptor, bytes, bytes + length, w->depth + 1, w->clean, w->e};
    return walk_message(&inner);
}

static int check_varint(struct walk *w, const ProtobufCFieldDescriptor *f)
{
    uint64_t value;
    if (take_varint(w, &value) < 0)
        return -1;
    if (!f || f->type != PROTOBUF_C_TYPE_ENUM)
        return 0;
    if (value > INT32_MAX || !protobuf_c_enum_descriptor_get_value(f->descriptor, (int)value))
        return bad_field(w, f, "a value that the grammar does not have");
    return 0;
}

static int skip(struct walk *w, size_t length)
{
    if ((size_t)(w->end - w->at) < length)
        return bad(w, "ends within a field");
    w->at += length;
    return 0;
}

static bool type_fits(const ProtobufCFieldDescriptor *f, unsigned wire)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return wire == PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return wire == PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return wire == PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static int check_value(struct walk *w, const ProtobufCFieldDescriptor *f, unsigned wire)
{
    uint64_t length;
    if (f && !type_fits(f, wire))
        return bad_field(w, f, "encoded as another type");
    switch (wire) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return check_varint(w, f);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        return skip(w, 8);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        return skip(w, 4);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (take_varint(w, &length) < 0)
            return -1;
        if (length > (uint64_t)(w->end - w->at))
            return bad(w, "a field reaches beyond the message");
        return check_delimited(w, f, (size_t)length);
    default:
        return bad(w, "a wire type that is not in use");
    }
}

/* One place for all members of a oneof, so that a second member counts as a second value. */
static size_t place_of(const ProtobufCMessageDescriptor *type, size_t field)
{
    const ProtobufCFieldDescriptor *f = &type->fields[field];
    if (!(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return field;
    for (size_t i = 0; i < field; i++)
        if ((type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            type->fields[i].quantifier_offset == f->quantifier_offset)
            return i;
    return field;
}

static int count_field(struct walk *w, const ProtobufCFieldDescriptor *f, uint32_t *counts)
{
    uint32_t *count = &counts[place_of(w->type, (size_t)(f - w->type->fields))];
    ++*count;
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return *count > 1 ? bad_field(w, f, "given more than once") : 0;
    return *count > caps_most_elements(w->type, f) ? bad_field(w, f, "too many elements") : 0;
}

static int check_needed(const struct walk *w, const uint32_t *counts)
{
    for (size_t i = 0; i < sizeof needed_rows / sizeof *needed_rows; i++) {
        if (needed_rows[i].type != w->type)
            continue;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(w->type, needed_rows[i].field);
        assert(f);
        if (counts[place_of(w->type, (size_t)(f - w->type->fields))] > 0)
            continue;
        return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? bad(w, "empty, or of a kind unknown here")
                                                      : bad_field(w, f, "missing");
    }
    return 0;
}

static int walk_message(struct walk *w)
{
    uint32_t counts[MOST_FIELDS] = {0};
    uint32_t unknown = 0;
    assert(w->type->n_fields <= MOST_FIELDS);
    while (w->at < w->end) {
        uint64_t key;
        if (take_varint(w, &key) < 0)
            return -1;
        uint64_t id = key >> 3;
        if (id == 0 || id > (UINT32_MAX >> 3))
            return bad(w, "a field number out of range");
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(w->type, (unsigned)id);
        if (!f && ++unknown > MOST_UNKNOWN)
            return bad(w, "too many unknown fields");
        if ((f && count_field(w, f, counts) < 0) || check_value(w, f, key & 7) < 0)
            return -1;
    }
    return check_needed(w, counts);
}

int caps_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t length,
               struct err *e)
{
    struct walk w = {type, bytes, bytes + length, 0, false, e};
    return walk_message(&w);
}

int caps_clean(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t length, struct err *e)
{
    struct walk w = {type, bytes, bytes + length, 0, true, e};
    return walk_message(&w);
}
