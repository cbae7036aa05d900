/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/report/scene.h"

#include "common/fs.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void on_done(void *arg, const struct err *e)
{
    struct scene *s = arg;
    s->answered++;
    if (e)
        fail_msg("the store: %s", err_text(e));
}

struct scene *scene_open(void)
{
    struct scene *s = calloc(1, sizeof *s);
    struct err e = ERR_INIT;
    strcpy(s->folder, "/tmp/plimsoll-report-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->path = fs_path("%s/store.db", s->folder);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    if (store_open(&s->loop, s->path, &s->store, &e) < 0)
        fail_msg("%s", err_text(&e));
    return s;
}

static void fix_times(const char *path)
{
    sqlite3 *db = NULL;
    char *wrong = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int result =
        sqlite3_exec(db,
                     "UPDATE campaign SET ended_ns = 1795425420000000000 WHERE ended_ns != 0;"
                     "UPDATE result SET stored_ns = 1795425400000000000 + number * 1000000000,"
                     " sum = x''",
                     NULL, NULL, &wrong);
    if (result != SQLITE_OK)
        fail_msg("%s", wrong);
    sqlite3_close(db);
}

void scene_settle(struct scene *s)
{
    while (s->answered < s->asked)
        uv_run(&s->loop, UV_RUN_ONCE);
    store_close(&s->store);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    fix_times(s->path);
}

void scene_free(struct scene **scene)
{
    struct scene *s = *scene;
    *scene = NULL;
    if (s->store)
        scene_settle(s);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(fs_remove_tree(s->folder, NULL), 0);
    free(s->path);
    free(s);
}

/* ---- The campaign ---- */

static const char *const guests[] = {"process", "lxc", "kvm"};

static void make_cell(Plimsoll__Cell *cell, uint32_t index)
{
    static Plimsoll__Section probe, image;
    static Plimsoll__Section guest[COUNT(guests)];
    static Plimsoll__Factor factor[COUNT(guests)];
    static Plimsoll__Factor *factors[COUNT(guests)];
    static Plimsoll__Repeat repeat;
    static Plimsoll__Value memory_value;
    static Plimsoll__Setting memory;
    static Plimsoll__Setting *settings[] = {&memory};
    plimsoll__section__init(&probe);
    probe.name = probe.plugin = "startup";
    plimsoll__section__init(&image);
    image.name = "debian";
    plimsoll__value__init(&memory_value);
    memory_value.kind_case = PLIMSOLL__VALUE__KIND_INTEGER;
    memory_value.integer = INT64_C(256) << 20;
    plimsoll__setting__init(&memory);
    memory.key = "memory";
    memory.value = &memory_value;
    plimsoll__section__init(&guest[index]);
    guest[index].name = guest[index].plugin = (char *)guests[index];
    guest[index].settings = settings;
    guest[index].n_settings = 1;
    plimsoll__factor__init(&factor[index]);
    factor[index].key = "guest";
    factor[index].value = (char *)guests[index];
    factors[index] = &factor[index];
    plimsoll__repeat__init(&repeat);
    repeat.default_count = 10;
    repeat.tcg = 2;
    plimsoll__cell__init(cell);
    cell->index = index;
    cell->experiment = "starts";
    cell->probe = &probe;
    cell->guest = &guest[index];
    cell->image = &image;
    cell->factors = &factors[index];
    cell->n_factors = 1;
    cell->repeat = &repeat;
    cell->warmup = 1;
    cell->deadline_ns = UINT64_C(60000000000);
}

static void add_plan(struct scene *s, double lxc_within)
{
    static const double published[] = {0.000208, 0.2, 10.342};
    Plimsoll__Cell cell[COUNT(guests)];
    Plimsoll__Cell *cells[COUNT(guests)];
    Plimsoll__Reference reference[COUNT(guests)];
    Plimsoll__Reference *references[COUNT(guests)];
    for (uint32_t i = 0; i < COUNT(guests); i++) {
        make_cell(&cell[i], i);
        cells[i] = &cell[i];
        plimsoll__reference__init(&reference[i]);
        reference[i].set = "paper";
        reference[i].cell = i;
        reference[i].metric = "start";
        reference[i].value = published[i];
        references[i] = &reference[i];
    }
    reference[1].checked = lxc_within > 0;
    reference[1].within = lxc_within;
    Plimsoll__Plan plan = PLIMSOLL__PLAN__INIT;
    plan.name = "starts";
    plan.title = s->hostile ? SCENE_HOSTILE : "Request to ready, \"quoted\"";
    plan.cells = cells;
    plan.n_cells = COUNT(cells);
    plan.references = references;
    plan.n_references = COUNT(references);
    plan.random_order = true;
    plan.seed = 7;
    plan.confidence = 0.95;
    plan.text = s->hostile ? SCENE_HOSTILE : "campaign = { name = \"starts\" }\n";
    cell[0].factors[0]->value = s->hostile ? (char *)SCENE_HOSTILE : (char *)guests[0];
    s->asked++;
    store_add_campaign(s->store, SCENE_ID, &plan, 1795425300000000000, false, on_done, s);
}

static void add_host(struct scene *s, const char *name, bool has_lxc, const char *accelerator)
{
    Plimsoll__Fact release = PLIMSOLL__FACT__INIT;
    release.key = "kernel.release";
    release.value = s->hostile ? (char *)SCENE_HOSTILE : (char *)"6.1.0-test";
    release.tier = PLIMSOLL__TIER__TIER_MUST_MATCH;
    Plimsoll__Fact memory = PLIMSOLL__FACT__INIT;
    memory.key = "memory.bytes";
    memory.value = "4294967296";
    Plimsoll__Fact *facts[] = {&release, &memory};
    Plimsoll__Fingerprint fingerprint = PLIMSOLL__FINGERPRINT__INIT;
    fingerprint.schema = 1;
    fingerprint.facts = facts;
    fingerprint.n_facts = COUNT(facts);
    Plimsoll__Offer offer[COUNT(guests)];
    Plimsoll__Offer *offers[COUNT(guests)];
    for (size_t i = 0; i < COUNT(guests); i++) {
        plimsoll__offer__init(&offer[i]);
        offer[i].guest = (char *)guests[i];
        offer[i].image = "debian";
        offer[i].image_digest = "sha256:00";
        offer[i].available = true;
        offers[i] = &offer[i];
    }
    offer[1].available = has_lxc;
    offer[1].reason = has_lxc      ? (char *)""
                      : s->hostile ? (char *)SCENE_HOSTILE
                                   : (char *)"this build has no liblxc";
    offer[2].accelerator = (char *)accelerator;
    offer[2].nested = strcmp(accelerator, "tcg") != 0;
    offer[2].note = strcmp(accelerator, "tcg") == 0 ? "/dev/kvm is absent: TCG is used" : "";
    Plimsoll__Prepared prepared = PLIMSOLL__PREPARED__INIT;
    prepared.campaign = SCENE_ID;
    prepared.offers = offers;
    prepared.n_offers = COUNT(offers);
    struct store_host host = {name, "group-1", "plimsoll 0.1.0", &fingerprint, &prepared};
    s->asked++;
    store_add_offers(s->store, SCENE_ID, &host, on_done, s);
}

void scene_add_campaign(struct scene *s, double lxc_within)
{
    add_plan(s, lxc_within);
    add_host(s, "a", true, "tcg");
    add_host(s, "b", false, "kvm/intel");
}

void scene_add_trials(struct scene *s, const struct store_trial *trials, size_t n,
                      uint64_t unavailable)
{
    s->asked++;
    store_add_schedule(s->store, SCENE_ID, 7, unavailable, trials, n, on_done, s);
}

/* ---- Results ---- */

static Plimsoll__Lease lease_of(struct scene *s, uint64_t trial, unsigned attempt, const char *host)
{
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    lease.campaign = SCENE_ID;
    lease.trial = trial;
    lease.attempt = attempt;
    lease.lease = ++s->lease;
    s->asked++;
    store_add_attempt(s->store, &lease, host, on_done, s);
    return lease;
}

static Plimsoll__Sample sample_of(const char *metric, double value, const struct scene_result *r)
{
    Plimsoll__Sample sample = PLIMSOLL__SAMPLE__INIT;
    sample.metric = (char *)metric;
    sample.unit = "s";
    sample.value = value;
    sample.time_ns = (int64_t)(r->trial * 1000000000) + (int64_t)(value * 1e9);
    sample.clock_ns = 1795425300000000000 + (int64_t)(r->trial * 1000000000);
    return sample;
}

static void add_result(struct scene *s, Plimsoll__Lease *lease, const struct scene_result *r)
{
    Plimsoll__Sample sample[] = {
        sample_of("started", r->start_s / 4, r), sample_of("init", r->start_s / 2, r),
        sample_of("start", r->start_s, r),       sample_of("agent_cpu", 0.0005, r),
        sample_of("canary_before", 0.01, r),
    };
    Plimsoll__Sample *samples[COUNT(sample)];
    for (size_t i = 0; i < COUNT(sample); i++)
        samples[i] = &sample[i];
    Plimsoll__Factor accelerator = PLIMSOLL__FACTOR__INIT;
    accelerator.key = "accelerator";
    accelerator.value = (char *)r->accelerator;
    Plimsoll__Factor ready = PLIMSOLL__FACTOR__INIT;
    ready.key = "ready";
    ready.value = "the runner reported";
    Plimsoll__Factor *conditions[] = {&accelerator, &ready};
    Plimsoll__Text definition = PLIMSOLL__TEXT__INIT;
    definition.name = "lxc.conf";
    definition.text = "lxc.net.0.type = empty\n";
    Plimsoll__Text *texts[] = {&definition};
    Plimsoll__Result result = PLIMSOLL__RESULT__INIT;
    result.spool = "11111111-2222-3333-4444-555555555555";
    result.sequence = ++s->sequence;
    result.lease = lease;
    result.outcome = r->outcome;
    result.reason = (char *)(r->reason ? r->reason : "");
    result.samples = samples;
    result.n_samples = r->start_s > 0 ? COUNT(sample) : 0;
    result.conditions = conditions;
    result.n_conditions = COUNT(conditions);
    result.texts = texts;
    result.n_texts = COUNT(texts);
    result.warmup = r->warmup;
    s->asked++;
    store_add_result(s->store, "agent-key", r->host, &result, on_done, s);
}

void scene_add_result(struct scene *s, const struct scene_result *r)
{
    Plimsoll__Lease lease = lease_of(s, r->trial, r->attempt, r->host);
    add_result(s, &lease, r);
}

void scene_add_late_result(struct scene *s, const struct scene_result *r)
{
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    lease.campaign = SCENE_ID;
    lease.trial = r->trial;
    lease.attempt = r->attempt;
    lease.lease = UINT64_MAX; /* nobody's */
    add_result(s, &lease, r);
}

void scene_lose_attempt(struct scene *s, uint64_t trial, unsigned attempt, const char *host,
                        const char *why)
{
    Plimsoll__Lease lease = lease_of(s, trial, attempt, host);
    s->asked++;
    store_end_attempt(s->store, &lease, why, on_done, s);
}

void scene_end(struct scene *s, const char *state, const char *note)
{
    s->asked++;
    store_set_state(s->store, SCENE_ID, state, note, on_done, s);
}
