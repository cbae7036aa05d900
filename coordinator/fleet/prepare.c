/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Before a campaign runs, every host says what it can run; then the order is drawn. */
#include "common/cleanup.h"
#include "common/log.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/schedule/variants.h"

#include <stdlib.h>
#include <string.h>

/* Of one Prepare, see proto/caps.c. */
enum { MOST_GUESTS = 1024 };

static bool is_expected(const struct campaign *c, const char *host)
{
    for (size_t i = 0; i < c->n_expected; i++)
        if (strcmp(c->expected[i], host) == 0)
            return true;
    return false;
}

/* The agents whose keys are allowed. Without the list nobody is waited for. */
static void expect_agents(struct campaign *c)
{
    struct key_table *table = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (key_table_load(c->fleet->keys_folder, &table, &e) < 0) {
        log_warning("%s", err_text(&e));
        return;
    }
    size_t n = key_table_count(table);
    int64_t now_ns = clock_realtime_ns();
    c->expected = memory_need(calloc(n + 1, sizeof *c->expected));
    for (size_t i = 0; i < n; i++) {
        const struct allowed_key *key = key_table_at(table, i);
        if (key->role == KEY_ROLE_AGENT && key_state(key, now_ns) == KEY_ALLOWED &&
            !is_expected(c, key->name))
            c->expected[c->n_expected++] = memory_text(key->name);
    }
    key_table_free(table);
}

void prepare_begin(struct campaign *c)
{
    c->phase = CAMPAIGN_PREPARING;
    expect_agents(c);
}

void prepare_clear(struct campaign *c)
{
    for (size_t i = 0; i < c->n_expected; i++)
        free(c->expected[i]);
    for (size_t i = 0; i < c->n_preparing; i++) {
        struct preparing *p = &c->preparing[i];
        free(p->host);
        free(p->identity);
        free(p->software);
        if (p->prepared)
            plimsoll__prepared__free_unpacked(p->prepared, NULL);
    }
    free(c->expected);
    free(c->preparing);
    c->expected = NULL;
    c->preparing = NULL;
    c->n_expected = c->n_preparing = 0;
}

static struct preparing *find_preparing(const struct campaign *c, const char *host)
{
    for (size_t i = 0; i < c->n_preparing; i++)
        if (strcmp(c->preparing[i].host, host) == 0)
            return &c->preparing[i];
    return NULL;
}

static struct preparing *add_preparing(struct campaign *c, const char *host)
{
    struct preparing *p = find_preparing(c, host);
    if (p)
        return p;
    c->preparing = memory_need(realloc(c->preparing, (c->n_preparing + 1) * sizeof *c->preparing));
    p = &c->preparing[c->n_preparing++];
    *p = (struct preparing){.host = memory_text(host), .asked_ns = clock_monotonic_ns()};
    return p;
}

/* ---- Asking ---- */

static void add_image(Plimsoll__Prepare *to, Plimsoll__Section *image)
{
    for (size_t i = 0; i < to->n_images; i++)
        if (strcmp(to->images[i]->name, image->name) == 0)
            return;
    to->images[to->n_images++] = image;
}

static int ask(const struct campaign *c, struct fleet_host *h, struct err *e)
{
    const Plimsoll__Plan *plan = c->plan;
    cleanup_free Plimsoll__Section **guests =
        memory_need(calloc(plan->n_cells + 1, sizeof(void *)));
    cleanup_free Plimsoll__Section **images =
        memory_need(calloc(plan->n_cells + 1, sizeof(void *)));
    Plimsoll__Prepare prepare = PLIMSOLL__PREPARE__INIT;
    prepare.campaign = c->id;
    prepare.images = images;
    prepare.guests = guests;
    prepare.n_guests = variants_list(plan, guests, MOST_GUESTS);
    for (size_t i = 0; i < plan->n_cells; i++)
        if (plan->cells[i]->image)
            add_image(&prepare, plan->cells[i]->image);
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_PREPARE;
    m.prepare = &prepare;
    return session_send(h->session, &m, e);
}

/* One that was dropped is back before the order was drawn: it takes part after all. */
static void was_asked(struct preparing *p, const struct fleet_host *h)
{
    p->asked_join = h->joins;
    if (p->dropped)
        p->asked_ns = clock_monotonic_ns();
    p->dropped = p->late = false;
}

static void ask_everybody(struct campaign *c)
{
    const struct roster *r = &c->fleet->roster;
    for (size_t i = 0; i < r->n; i++) {
        struct fleet_host *h = r->hosts[i];
        if (!h->session || h->gone)
            continue;
        struct preparing *p = add_preparing(c, h->name);
        if (p->prepared || p->asked_join == h->joins)
            continue;
        cleanup_err struct err e = ERR_INIT;
        if (ask(c, h, &e) == 0)
            was_asked(p, h);
        else
            log_warning("host %s: %s", h->name, err_text(&e));
    }
}

void prepare_answer(struct campaign *c, const struct fleet_host *h, const Plimsoll__Prepared *said)
{
    struct preparing *p = find_preparing(c, h->name);
    if (c->phase != CAMPAIGN_PREPARING || !p || p->prepared || p->dropped ||
        strcmp(said->campaign, c->id) != 0)
        return;
    p->prepared = (Plimsoll__Prepared *)memory_copy(&said->base);
    p->identity = memory_text(h->identity);
    p->software = memory_text(h->software);
    log_info("campaign %s: host %s has said what it can run", c->id, h->name);
    fleet_changed(c->fleet, c);
}

/* ---- Waiting ---- */

static const char *why_dropped(const struct preparing *p)
{
    return p->late ? "took too long to say what it can run"
                   : "went away before it said what it can run";
}

static void drop_absent(struct campaign *c, int64_t now_ns)
{
    for (size_t i = 0; i < c->n_preparing; i++) {
        struct preparing *p = &c->preparing[i];
        if (p->prepared || p->dropped)
            continue;
        const struct fleet_host *h = roster_find(&c->fleet->roster, p->host);
        bool late = now_ns - p->asked_ns > PREPARE_MOST_S * NS_PER_S;
        if (h && !h->gone && !late)
            continue;
        p->dropped = true;
        p->late = late;
        log_warning("campaign %s: host %s %s", c->id, p->host, why_dropped(p));
        fleet_changed(c->fleet, c);
    }
}

/* Those that went away may come back; these will not answer any more. */
static bool all_are_late(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_preparing; i++)
        if (!c->preparing[i].late)
            return false;
    return c->n_preparing > 0;
}

static bool everybody_is_here(const struct campaign *c, int64_t now_ns)
{
    if (now_ns - c->began_ns >= c->fleet->settings.grace_ns)
        return true;
    for (size_t i = 0; i < c->n_expected; i++)
        if (!find_preparing(c, c->expected[i]))
            return false;
    return true;
}

static bool is_complete(const struct campaign *c, int64_t now_ns)
{
    size_t answered = 0;
    for (size_t i = 0; i < c->n_preparing; i++) {
        if (!c->preparing[i].prepared && !c->preparing[i].dropped)
            return false;
        answered += c->preparing[i].prepared != NULL;
    }
    return answered > 0 && everybody_is_here(c, now_ns);
}

/* ---- Drawing ---- */

static int compare_hosts(const void *a, const void *b)
{
    return strcmp(((const struct schedule_host *)a)->name, ((const struct schedule_host *)b)->name);
}

static size_t collect_hosts(const struct campaign *c, struct schedule_host *hosts)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_preparing; i++) {
        const struct preparing *p = &c->preparing[i];
        if (p->prepared)
            hosts[n++] = (struct schedule_host){p->host, p->identity, p->prepared};
    }
    qsort(hosts, n, sizeof *hosts, compare_hosts);
    return n;
}

static void note_who_is_missing(struct campaign *c)
{
    for (size_t i = 0; i < c->n_expected; i++)
        if (!find_preparing(c, c->expected[i]))
            campaign_note(c, "host %s was not connected and takes no part", c->expected[i]);
    for (size_t i = 0; i < c->n_preparing; i++)
        if (c->preparing[i].dropped)
            campaign_note(c, "host %s takes no part: it %s", c->preparing[i].host,
                          why_dropped(&c->preparing[i]));
    for (uint32_t h = 0; h < schedule_n_hosts(c->schedule); h++)
        if (!schedule_host_works(c->schedule, h))
            campaign_note(c, "host %s is not identical to the others and takes no part",
                          schedule_host_name(c->schedule, h));
}

struct drawing {
    struct fleet *fleet;
    char *id;
};

static void on_scheduled(void *arg, const struct err *e)
{
    struct drawing *drawing = arg;
    struct fleet *f = drawing->fleet;
    struct campaign *c = fleet_find(f, drawing->id);
    free(drawing->id);
    free(drawing);
    if (e) {
        fleet_failed(f, e);
        return;
    }
    if (!c)
        return;
    if (c->phase == CAMPAIGN_DRAWN) {
        c->phase = CAMPAIGN_RUNNING;
        note_who_is_missing(c);
    }
    prepare_clear(c);
    fleet_changed(f, c);
    fleet_advance(f);
}

static void store_offers(struct campaign *c)
{
    for (size_t i = 0; i < c->n_preparing; i++) {
        const struct preparing *p = &c->preparing[i];
        const struct fleet_host *h = roster_find(&c->fleet->roster, p->host);
        if (!p->prepared || !h || !h->fingerprint)
            continue;
        struct store_host host = {p->host, p->identity, p->software, h->fingerprint, p->prepared};
        store_add_offers(c->fleet->settings.store, c->id, &host, NULL, NULL);
    }
}

static void store_order(struct campaign *c)
{
    size_t n = 0;
    const struct trial *trials = schedule_trials(c->schedule, &n);
    cleanup_free struct store_trial *rows = memory_need(calloc(n + 1, sizeof *rows));
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct store_trial){.trial = trials[i].number,
                                       .cell = trials[i].cell,
                                       .repetition = trials[i].repetition,
                                       .warmup = trials[i].warmup,
                                       .host = schedule_host_name(c->schedule, trials[i].host),
                                       .order = trials[i].position};
    struct drawing *drawing = memory_need(calloc(1, sizeof *drawing));
    *drawing = (struct drawing){c->fleet, memory_text(c->id)};
    store_add_schedule(c->fleet->settings.store, c->id, c->plan->seed,
                       schedule_counts(c->schedule).unavailable, rows, n, on_scheduled, drawing);
}

static void draw(struct campaign *c)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free struct schedule_host *hosts =
        memory_need(calloc(c->n_preparing + 1, sizeof *hosts));
    size_t n = collect_hosts(c, hosts);
    store_offers(c);
    if (schedule_new(c->plan, hosts, n, &c->schedule, &e) < 0 ||
        schedule_draw(c->schedule, &e) < 0) {
        schedule_free(&c->schedule);
        campaign_note(c, "%s", err_text(&e));
        campaign_end(c, "failed");
        return;
    }
    c->phase = CAMPAIGN_DRAWN;
    store_order(c);
    fleet_changed(c->fleet, c);
}

void prepare_advance(struct campaign *c)
{
    int64_t now_ns = clock_monotonic_ns();
    ask_everybody(c);
    drop_absent(c, now_ns);
    if (is_complete(c, now_ns)) {
        draw(c);
    } else if (all_are_late(c)) {
        campaign_note(c, "no host said within %d min what it can run", PREPARE_MOST_S / 60);
        campaign_end(c, "failed");
    }
}
