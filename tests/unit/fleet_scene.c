/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/fleet_scene.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/fleet/memory.h"
#include "proto/zap.h"
#include "tests/cmocka_with_needs.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        cleanup_err struct err e = ERR_INIT;                                                       \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err_text(&e));                                               \
    } while (0)

/* ---- The coordinator ---- */

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

void scene_turn(struct scene *s)
{
    uv_run(&s->loop, UV_RUN_ONCE);
}

static void on_changed(void *arg, const char *campaign)
{
    struct scene *s = arg;
    if (s->clients)
        clients_changed(s->clients, campaign);
}

static void on_failed(void *arg, const struct err *e)
{
    memory_set(&((struct scene *)arg)->failure, err_text(e));
}

void scene_start(struct scene *s)
{
    static const struct fleet_events events = {.changed = on_changed, .failed = on_failed};
    s->zmq_there = zmq_ctx_new();
    MUST(store_open(&s->loop, s->store_path, &s->store, &e));
    MUST(zap_start(&s->loop, s->zmq_there, s->keys, &s->zap, &e));
    struct fleet_settings fleet = {.loop = &s->loop,
                                   .zmq_context = s->zmq_there,
                                   .zap = s->zap,
                                   .own = &s->own,
                                   .endpoint = "tcp://127.0.0.1:*",
                                   .keys_folder = s->keys,
                                   .store_path = s->store_path,
                                   .store = s->store,
                                   .grace_ns = s->grace_ns,
                                   .gone_ns = s->gone_ns,
                                   .patience_ns = s->patience_ns};
    MUST(fleet_start(&fleet, &events, s, &s->fleet, &e));
    struct clients_settings clients = {.loop = &s->loop,
                                       .zmq_context = s->zmq_there,
                                       .zap = s->zap,
                                       .own = &s->own,
                                       .endpoint = "tcp://127.0.0.1:*",
                                       .store_path = s->store_path,
                                       .program = COORDINATOR_PROGRAM,
                                       .store = s->store,
                                       .fleet = s->fleet};
    MUST(clients_start(&clients, &s->clients, &e));
}

void scene_stop(struct scene *s)
{
    clients_stop(s->clients);
    fleet_stop(s->fleet);
    store_close(&s->store);
    zap_stop(&s->zap);
    uv_timer_stop(&s->turn);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_timer_start(&s->turn, on_turn, 20, 20);
    clients_free(&s->clients);
    fleet_free(&s->fleet);
    zmq_ctx_term(s->zmq_there);
}

void scene_open(struct scene *s)
{
    *s = (struct scene){.gone_ns = 45 * NS_PER_S, .patience_ns = 600 * NS_PER_S};
    strcpy(s->folder, "/tmp/plimsoll-fleet-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->keys = fs_path("%s/keys", s->folder);
    s->store_path = fs_path("%s/store.db", s->folder);
    MUST(fs_make_dirs(s->keys, 0700, &e));
    MUST(key_pair_make(&s->own, &e));
    assert_int_equal(uv_loop_init(&s->loop), 0);
    uv_timer_init(&s->loop, &s->turn);
    uv_timer_start(&s->turn, on_turn, 20, 20);
    s->zmq = zmq_ctx_new();
}

void scene_close(struct scene *s)
{
    scene_stop(s);
    uv_close((uv_handle_t *)&s->turn, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    zmq_ctx_term(s->zmq);
    assert_null(s->failure);
    MUST(fs_remove_tree(s->folder, &e));
    free(s->keys);
    free(s->store_path);
}

/* ---- Agents ---- */

static void agent_hello(void *arg, Plimsoll__Hello *hello)
{
    struct agent *a = arg;
    static Plimsoll__Fact fact;
    static Plimsoll__Fact *facts[] = {&fact};
    static Plimsoll__Fingerprint fingerprint;
    plimsoll__fact__init(&fact);
    plimsoll__fingerprint__init(&fingerprint);
    fact.key = "cpu.model";
    fact.value = (char *)(a->identity ? a->identity : "486");
    fact.tier = PLIMSOLL__TIER__TIER_MUST_MATCH;
    fingerprint.n_facts = 1;
    fingerprint.facts = facts;
    hello->name = (char *)a->name;
    hello->spool = "spool";
    hello->next_sequence = a->next_sequence;
    hello->fingerprint = &fingerprint;
    hello->running = a->claim && a->holds ? &a->held : NULL;
}

static void agent_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    (void)welcome;
    ((struct agent *)arg)->welcomed = true;
}

static void agent_lost(void *arg, bool refused, const char *why)
{
    struct agent *a = arg;
    a->welcomed = false;
    a->refused = refused;
    snprintf(a->why, sizeof a->why, "%s", why);
}

static void offer(struct agent *a, const Plimsoll__Prepare *p)
{
    Plimsoll__Offer o = PLIMSOLL__OFFER__INIT;
    Plimsoll__Offer *offers[] = {&o};
    Plimsoll__Prepared prepared = PLIMSOLL__PREPARED__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    o.guest = p->guests[0]->name;
    o.available = !a->unavailable;
    o.reason = a->unavailable ? "not on this host" : "";
    prepared.campaign = p->campaign;
    prepared.n_offers = 1;
    prepared.offers = offers;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_PREPARED;
    m.prepared = &prepared;
    peer_send(a->peer, &m, NULL);
}

enum { BULK = 60, BULK_BYTES = 15000 };

static void add_bulk(Plimsoll__Result *r)
{
    static char text[BULK_BYTES + 1];
    static Plimsoll__Factor condition;
    static Plimsoll__Factor *conditions[BULK];
    memset(text, 'x', BULK_BYTES);
    plimsoll__factor__init(&condition);
    condition.key = "bulk";
    condition.value = text;
    for (size_t i = 0; i < BULK; i++)
        conditions[i] = &condition;
    r->n_conditions = BULK;
    r->conditions = conditions;
}

void agent_send_result(struct agent *a, const Plimsoll__Lease *lease, uint64_t sequence,
                       Plimsoll__Outcome outcome)
{
    Plimsoll__Sample sample = PLIMSOLL__SAMPLE__INIT;
    Plimsoll__Sample *samples[] = {&sample};
    Plimsoll__Result r = PLIMSOLL__RESULT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    sample.metric = "start";
    sample.unit = "s";
    sample.value = 1.5;
    r.spool = "spool";
    r.sequence = sequence;
    r.lease = (Plimsoll__Lease *)lease;
    r.outcome = outcome;
    r.reason = outcome == PLIMSOLL__OUTCOME__OUTCOME_FAILED ? "it would not start" : "";
    r.n_samples = 1;
    r.samples = samples;
    if (a->bulky)
        add_bulk(&r);
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_RESULT;
    m.result = &r;
    peer_send(a->peer, &m, NULL);
}

void agent_answer(struct agent *a, Plimsoll__Outcome outcome)
{
    assert_true(a->holds);
    a->holds = false;
    uint64_t sequence = a->next_sequence++;
    if (!a->silent_results)
        agent_send_result(a, &a->held, sequence, outcome);
}

static void take(struct agent *a, const Plimsoll__Assign *assign)
{
    assert_false(a->holds);
    a->holds = true;
    a->keeps_failed = assign->keep_failed;
    if (a->held.campaign != protobuf_c_empty_string)
        free(a->held.campaign);
    a->held = *assign->lease;
    a->held.campaign = memory_text(assign->lease->campaign);
    a->trials[a->assigns % SCENE_MOST_LEASES] = assign->lease->trial;
    a->warmups[a->assigns % SCENE_MOST_LEASES] = assign->warmup;
    a->assigns++;
    if (a->hold)
        return;
    bool fails = a->fail_first > 0;
    a->fail_first -= fails;
    agent_answer(a, fails ? PLIMSOLL__OUTCOME__OUTCOME_FAILED : PLIMSOLL__OUTCOME__OUTCOME_VALID);
}

static void agent_message(void *arg, const Plimsoll__Envelope *m)
{
    struct agent *a = arg;
    switch (m->kind_case) {
    case PLIMSOLL__ENVELOPE__KIND_PREPARE:
        a->prepares++;
        if (!a->mute)
            offer(a, m->prepare);
        break;
    case PLIMSOLL__ENVELOPE__KIND_ASSIGN:
        take(a, m->assign);
        break;
    case PLIMSOLL__ENVELOPE__KIND_CANCEL:
        a->cancels++;
        if (a->holds && m->cancel->lease->lease == a->held.lease)
            agent_answer(a, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
        break;
    case PLIMSOLL__ENVELOPE__KIND_COMMITTED:
        a->committed++;
        break;
    default:
        fail_msg("an agent was sent a message of kind %d", (int)m->kind_case);
    }
}

static const struct peer_events agent_events = {
    .hello = agent_hello, .welcomed = agent_welcomed, .message = agent_message, .lost = agent_lost};

void agent_open(struct scene *s, struct agent *a, const char *name)
{
    *a = (struct agent){.scene = s, .name = name, .next_sequence = 1};
    plimsoll__lease__init(&a->held);
    MUST(key_pair_make(&a->key, &e));
    MUST(key_table_allow(s->keys, KEY_ROLE_AGENT, name, a->key.public_z85, 0, &e));
}

void agent_join(struct agent *a)
{
    MUST(peer_start(&a->scene->loop, a->scene->zmq, fleet_endpoint(a->scene->fleet),
                    a->scene->own.public_z85, &a->key, &agent_events, a, &a->peer, &e));
}

void agent_leave(struct agent *a)
{
    if (a->peer)
        peer_stop(&a->peer);
    a->welcomed = false;
    if (a->beats)
        uv_timer_stop(&a->beat);
}

void agent_close(struct agent *a)
{
    agent_leave(a);
    if (a->held.campaign != protobuf_c_empty_string)
        free(a->held.campaign);
    a->held.campaign = (char *)protobuf_c_empty_string;
    if (a->beats)
        uv_close((uv_handle_t *)&a->beat, NULL);
    a->beats = false;
}

void agent_send_beat(struct agent *a, const Plimsoll__Lease *running)
{
    Plimsoll__Beat beat = PLIMSOLL__BEAT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    beat.running = (Plimsoll__Lease *)running;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BEAT;
    m.beat = &beat;
    peer_send(a->peer, &m, NULL);
}

static void on_beat(uv_timer_t *timer)
{
    struct agent *a = timer->data;
    if (a->welcomed)
        agent_send_beat(a, a->holds ? &a->held : NULL);
}

void agent_beat_every(struct agent *a, uint64_t ms)
{
    if (!a->beats)
        uv_timer_init(&a->scene->loop, &a->beat);
    a->beats = true;
    a->beat.data = a;
    uv_timer_start(&a->beat, on_beat, ms, ms);
}

/* ---- A client ---- */

static void client_hello(void *arg, Plimsoll__Hello *hello)
{
    (void)arg;
    hello->name = "desk";
}

static void client_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    (void)welcome;
    ((struct client_end *)arg)->welcomed = true;
}

static void client_message(void *arg, const Plimsoll__Envelope *m)
{
    struct client_end *c = arg;
    if (c->answer)
        plimsoll__envelope__free_unpacked(c->answer, NULL);
    c->answer = (Plimsoll__Envelope *)memory_copy(&m->base);
    c->answers++;
}

static void client_lost(void *arg, bool refused, const char *why)
{
    (void)arg;
    (void)refused;
    (void)why;
}

static const struct peer_events client_events = {.hello = client_hello,
                                                 .welcomed = client_welcomed,
                                                 .message = client_message,
                                                 .lost = client_lost};

void client_open_end(struct scene *s, struct client_end *c)
{
    struct key_pair key;
    MUST(key_pair_make(&key, &e));
    MUST(key_table_allow(s->keys, KEY_ROLE_CLIENT, "desk", key.public_z85, 0, &e));
    client_open_with(s, c, &key);
}

void client_open_with(struct scene *s, struct client_end *c, const struct key_pair *key)
{
    *c = (struct client_end){.scene = s, .key = *key};
    MUST(peer_start(&s->loop, s->zmq, clients_endpoint(s->clients), s->own.public_z85, &c->key,
                    &client_events, c, &c->peer, &e));
    scene_until(s, c->welcomed);
}

void client_close_end(struct client_end *c)
{
    peer_stop(&c->peer);
    if (c->answer)
        plimsoll__envelope__free_unpacked(c->answer, NULL);
    c->answer = NULL;
}

const Plimsoll__Envelope *client_ask(struct client_end *c, Plimsoll__Envelope *m)
{
    unsigned before = c->answers;
    m->request = before + 1;
    MUST(peer_send(c->peer, m, &e));
    scene_until(c->scene, c->answers > before);
    return c->answer;
}

/* ---- Campaigns ---- */

struct adding {
    struct scene *scene;
    const char *id;
    Plimsoll__Plan *plan;
    bool done;
};

static void on_added(void *arg, const struct err *e)
{
    struct adding *x = arg;
    assert_null(e);
    fleet_add(x->scene->fleet, x->id, &x->plan, 17, false);
    x->done = true;
}

void scene_submit(struct scene *s, const char *id, uint32_t repeat, bool any_host)
{
    Plimsoll__Section guest = PLIMSOLL__SECTION__INIT;
    Plimsoll__Section probe = PLIMSOLL__SECTION__INIT;
    Plimsoll__Repeat repeats = PLIMSOLL__REPEAT__INIT;
    Plimsoll__Cell cell = PLIMSOLL__CELL__INIT;
    Plimsoll__Cell *cells[] = {&cell};
    Plimsoll__Plan plan = PLIMSOLL__PLAN__INIT;
    guest.name = "g";
    guest.plugin = "fake";
    probe.name = probe.plugin = "startup";
    repeats.default_count = repeat;
    cell.experiment = "start";
    cell.guest = &guest;
    cell.probe = &probe;
    cell.repeat = &repeats;
    cell.warmup = 1;
    plan.name = "test";
    plan.random_order = true;
    plan.any_host = any_host;
    plan.n_cells = 1;
    plan.cells = cells;
    struct adding x = {s, id, (Plimsoll__Plan *)memory_copy(&plan.base), false};
    store_add_campaign(s->store, id, &plan, 17, false, on_added, &x);
    scene_until(s, x.done);
}

static struct reader *open_reader(struct scene *s)
{
    struct reader *r = NULL;
    MUST(read_open(s->store_path, &r, &e));
    return r;
}

struct read_counts scene_counts(struct scene *s, const char *id)
{
    struct reader *r = open_reader(s);
    struct read_counts counts;
    MUST(read_counts(r, id, &counts, &e));
    read_close(&r);
    return counts;
}

struct words {
    char *state, *note;
};

static int see_campaign(void *arg, const struct read_campaign *c, struct err *e)
{
    (void)e;
    struct words *w = arg;
    w->state = memory_text(c->state);
    w->note = memory_text(c->note);
    return 0;
}

static struct words look(struct scene *s, const char *id)
{
    struct reader *r = open_reader(s);
    struct words w = {0};
    MUST(read_campaign(r, id, see_campaign, &w, &e));
    read_close(&r);
    return w;
}

char *scene_state(struct scene *s, const char *id)
{
    struct words w = look(s, id);
    free(w.note);
    return w.state;
}

char *scene_note(struct scene *s, const char *id)
{
    struct words w = look(s, id);
    free(w.state);
    return w.note;
}

bool scene_is(struct scene *s, const char *id, const char *state)
{
    cleanup_free char *now = scene_state(s, id);
    return strcmp(now, state) == 0;
}
