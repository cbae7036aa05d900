/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Results with their samples: one pass over the results, their samples looked up by primary key. */
#include "common/cleanup.h"
#include "coordinator/store/read.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sql.h"
#include "coordinator/store/sum.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one result needs while it is given to the callback; the buffers are used again for the next.
 */
struct gathering {
    struct reader *reader;
    sqlite3_stmt *samples;
    sqlite3_stmt *texts; /* NULL where they are not wanted */
    struct read_sample *sample;
    size_t n_samples, capacity;
    char *words; /* metric names and units, NUL-terminated, in one piece */
    size_t words_used, words_capacity;
    Plimsoll__Result kept; /* texts, owned */
};

static int out_of_memory(struct err *e)
{
    return err_system(e, ENOMEM, "cannot read a result");
}

static int make_room(struct gathering *g, size_t words, struct err *e)
{
    if (g->n_samples == g->capacity) {
        size_t capacity = g->capacity * 2 + 16;
        struct read_sample *larger = realloc(g->sample, capacity * sizeof *larger);
        if (!larger)
            return out_of_memory(e);
        g->sample = larger;
        g->capacity = capacity;
    }
    if (g->words_capacity - g->words_used < words) {
        size_t capacity = (g->words_capacity + words) * 2;
        char *larger = realloc(g->words, capacity);
        if (!larger)
            return out_of_memory(e);
        g->words = larger;
        g->words_capacity = capacity;
    }
    return 0;
}

/* Until all samples are there the words may move, so their offsets stand where the pointers will.
 */
static const char *keep_word(struct gathering *g, const char *word)
{
    size_t at = g->words_used;
    g->words_used = (size_t)(stpcpy(g->words + at, word) - g->words) + 1;
    return (const char *)at; // NOLINT(performance-no-int-to-ptr)
}

static int keep_sample(struct gathering *g, struct err *e)
{
    sqlite3_stmt *s = g->samples;
    const char *metric = sql_text(s, 0);
    const char *unit = sql_text(s, 1);
    if (make_room(g, strlen(metric) + strlen(unit) + 2, e) < 0)
        return -1;
    bool is_number = sqlite3_column_type(s, 2) != SQLITE_NULL;
    g->sample[g->n_samples++] = (struct read_sample){
        .metric = keep_word(g, metric),
        .unit = keep_word(g, unit),
        .value = is_number ? sqlite3_column_double(s, 2) : NAN,
        .time_ns = sqlite3_column_int64(s, 3),
        .clock_ns = sqlite3_column_int64(s, 4),
    };
    return 0;
}

static int gather_samples(struct gathering *g, int64_t result, struct err *e)
{
    g->n_samples = 0;
    g->words_used = 0;
    sqlite3_reset(g->samples);
    if (sql_bind(g->samples, e, "i", result) < 0)
        return -1;
    int row;
    while ((row = reader_step(g->reader, g->samples, e)) > 0)
        if (keep_sample(g, e) < 0)
            return -1;
    for (size_t i = 0; i < g->n_samples; i++) {
        g->sample[i].metric = g->words + (size_t)g->sample[i].metric;
        g->sample[i].unit = g->words + (size_t)g->sample[i].unit;
    }
    return row;
}

static void drop_texts(struct gathering *g)
{
    for (size_t i = 0; i < g->kept.n_texts; i++)
        plimsoll__text__free_unpacked(g->kept.texts[i], NULL);
    free(g->kept.texts);
    g->kept.texts = NULL;
    g->kept.n_texts = 0;
}

static int keep_text(struct gathering *g, struct err *e)
{
    Plimsoll__Text **larger =
        realloc(g->kept.texts, (g->kept.n_texts + 1) * sizeof(Plimsoll__Text *));
    if (!larger)
        return out_of_memory(e);
    g->kept.texts = larger;
    Plimsoll__Text *t = malloc(sizeof *t);
    if (!t)
        return out_of_memory(e);
    plimsoll__text__init(t);
    g->kept.texts[g->kept.n_texts++] = t;
    t->name = strdup(sql_text(g->texts, 0));
    t->text = strdup(sql_text(g->texts, 1));
    return t->name && t->text ? 0 : out_of_memory(e);
}

static int gather_texts(struct gathering *g, int64_t result, struct err *e)
{
    drop_texts(g);
    if (!g->texts)
        return 0;
    sqlite3_reset(g->texts);
    if (sql_bind(g->texts, e, "i", result) < 0)
        return -1;
    int row;
    while ((row = reader_step(g->reader, g->texts, e)) > 0)
        if (keep_text(g, e) < 0)
            return -1;
    return row;
}

#define RESULTS                                                                                    \
    "SELECT r.number, r.trial, ifnull(t.cell, 4294967295), ifnull(t.repetition, 0), r.attempt,"    \
    " r.host, r.warmup, r.accepted, r.superseded, r.outcome, r.reason, r.stored_ns, r.conditions," \
    " r.sum"                                                                                       \
    " FROM result AS r LEFT JOIN trial AS t ON t.campaign = r.campaign AND t.trial = r.trial"      \
    " WHERE r.campaign = ?1 AND (?2 = 0 OR r.trial = ?2) AND (?3 = 0 OR r.accepted = 1)"           \
    " ORDER BY r.trial, r.attempt, r.number"

static int check_sum(sqlite3_stmt *s, const struct read_result *r, struct err *e)
{
    struct sum sum;
    uint8_t wanted[SUM_BYTES];
    int length = sqlite3_column_bytes(s, 13);
    if (length == 0)
        return 0;
    sum_begin(&sum, r, sqlite3_column_blob(s, 12), (size_t)sqlite3_column_bytes(s, 12));
    for (size_t i = 0; i < r->n_samples; i++)
        sum_sample(&sum, &r->samples[i]);
    sum_end(&sum, wanted);
    if (length != SUM_BYTES || memcmp(sqlite3_column_blob(s, 13), wanted, SUM_BYTES) != 0)
        return err_set(e, ERR_INPUT,
                       "the store is damaged: a result of trial %" PRIu64 " is not what was stored",
                       r->trial);
    return 0;
}

static int call_result(struct gathering *g, sqlite3_stmt *s, read_result_call *call, void *arg,
                       struct err *e)
{
    int64_t number = sqlite3_column_int64(s, 0);
    if (gather_samples(g, number, e) < 0 || gather_texts(g, number, e) < 0)
        return -1;
    Plimsoll__Result *conditions =
        (Plimsoll__Result *)sql_message(s, 12, &plimsoll__result__descriptor);
    if (!conditions)
        return err_set(e, ERR_INPUT, "the conditions of a result cannot be read");
    struct read_result result = {
        .trial = sql_unsigned(s, 1),
        .cell = (uint32_t)sqlite3_column_int64(s, 2),
        .repetition = (uint32_t)sqlite3_column_int64(s, 3),
        .attempt = (uint32_t)sqlite3_column_int64(s, 4),
        .host = sql_text(s, 5),
        .warmup = sqlite3_column_int(s, 6) != 0,
        .accepted = sqlite3_column_int(s, 7) != 0,
        .superseded = sqlite3_column_int(s, 8) != 0,
        .outcome = (Plimsoll__Outcome)sqlite3_column_int(s, 9),
        .reason = sql_text(s, 10),
        .stored_ns = sqlite3_column_int64(s, 11),
        .samples = g->sample,
        .n_samples = g->n_samples,
        .conditions = conditions->conditions,
        .n_conditions = conditions->n_conditions,
        .texts = g->kept.texts,
        .n_texts = g->kept.n_texts,
    };
    int called = check_sum(s, &result, e) < 0 ? -1 : call(arg, &result, e);
    plimsoll__result__free_unpacked(conditions, NULL);
    return called;
}

static int read_all_results(struct gathering *g, sqlite3_stmt *s, read_result_call *call, void *arg,
                            struct err *e)
{
    int row;
    while ((row = reader_step(g->reader, s, e)) > 0)
        if (call_result(g, s, call, arg, e) < 0)
            return -1;
    return row;
}

int read_results(struct reader *r, const char *id, uint64_t trial, unsigned flags,
                 read_result_call *call, void *arg, struct err *e)
{
    struct gathering g = {.reader = r, .kept = PLIMSOLL__RESULT__INIT};
    cleanup_statement sqlite3_stmt *s = reader_prepare(r, RESULTS, e);
    cleanup_statement sqlite3_stmt *samples =
        reader_prepare(r,
                       "SELECT metric, unit, value, time_ns, clock_ns FROM sample"
                       " WHERE result = ?1 ORDER BY position",
                       e);
    cleanup_statement sqlite3_stmt *texts = NULL;
    if (flags & READ_WITH_TEXTS)
        texts =
            reader_prepare(r, "SELECT name, text FROM text WHERE result = ?1 ORDER BY position", e);
    if (!s || !samples || ((flags & READ_WITH_TEXTS) && !texts) ||
        sql_bind(s, e, "tui", id, trial, (int64_t)((flags & READ_ACCEPTED_ONLY) != 0)) < 0)
        return -1;
    g.samples = samples;
    g.texts = texts;
    int done = read_all_results(&g, s, call, arg, e);
    drop_texts(&g);
    free(g.sample);
    free(g.words);
    return done;
}
