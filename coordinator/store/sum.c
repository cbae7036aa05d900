/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/sum.h"

#include <endian.h>
#include <math.h>
#include <string.h>

static void add_number(struct sum *s, uint64_t number)
{
    uint64_t bytes = htobe64(number);
    crypto_generichash_update(&s->state, (const unsigned char *)&bytes, sizeof bytes);
}

/* With its length, so that two texts are never taken for two others. */
static void add_bytes(struct sum *s, const void *bytes, size_t length)
{
    add_number(s, length);
    if (length > 0)
        crypto_generichash_update(&s->state, bytes, length);
}

static void add_text(struct sum *s, const char *text)
{
    add_bytes(s, text, strlen(text));
}

/* As SQLite gives it back: it keeps no sign of 0, and NULL for what is not a number. */
static void add_value(struct sum *s, double value)
{
    bool is_number = !isnan(value);
    double kept = !is_number || value == 0 ? 0 : value;
    uint64_t bits;
    memcpy(&bits, &kept, sizeof bits);
    add_number(s, is_number);
    add_number(s, bits);
}

void sum_begin(struct sum *s, const struct read_result *r, const void *conditions, size_t length)
{
    crypto_generichash_init(&s->state, NULL, 0, SUM_BYTES);
    add_number(s, r->trial);
    add_number(s, r->cell);
    add_number(s, r->repetition);
    add_number(s, r->attempt);
    add_number(s, r->warmup);
    add_number(s, r->accepted);
    add_number(s, r->superseded);
    add_number(s, (uint64_t)r->outcome);
    add_number(s, (uint64_t)r->stored_ns);
    add_text(s, r->host);
    add_text(s, r->reason);
    add_bytes(s, conditions, length);
}

void sum_sample(struct sum *s, const struct read_sample *sample)
{
    add_text(s, sample->metric);
    add_text(s, sample->unit);
    add_value(s, sample->value);
    add_number(s, (uint64_t)sample->time_ns);
    add_number(s, (uint64_t)sample->clock_ns);
}

void sum_end(struct sum *s, uint8_t ret[SUM_BYTES])
{
    crypto_generichash_final(&s->state, ret, SUM_BYTES);
}
