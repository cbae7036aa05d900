/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A campaign from its place in the queue to its end. */
#include "common/cleanup.h"
#include "common/log.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct campaign *campaign_new(const char *id)
{
    struct campaign *c = memory_need(calloc(1, sizeof *c));
    c->id = memory_text(id);
    c->note = memory_text("");
    return c;
}

void campaign_free(struct campaign **pc)
{
    struct campaign *c = steal(*pc);
    if (!c)
        return;
    prepare_clear(c);
    schedule_free(&c->schedule);
    if (c->plan)
        plimsoll__plan__free_unpacked(c->plan, NULL);
    free(c->end_state);
    free(c->note);
    free(c->id);
    free(c);
}

/* A write that is only reported when it fails. */
static void on_written(void *arg, const struct err *e)
{
    if (e)
        fleet_failed(arg, e);
}

static void store_state(struct campaign *c, const char *state)
{
    store_set_state(c->fleet->settings.store, c->id, state, c->note, on_written, c->fleet);
}

const char *campaign_state(const struct campaign *c)
{
    switch (c->phase) {
    case CAMPAIGN_RUNNING:
        return "running";
    case CAMPAIGN_CANCELLING:
        return "cancelling";
    case CAMPAIGN_ENDING:
        return c->end_state;
    default:
        return c->schedule ? "running" : "preparing";
    }
}

void campaign_note(struct campaign *c, const char *format, ...)
{
    char *sentence = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&sentence, format, args);
    va_end(args);
    if (length < 0)
        return;
    cleanup_free char *owned = sentence;
    log_warning("campaign %s: %s", c->id, owned);
    if (strstr(c->note, owned) || strlen(c->note) + strlen(owned) + 3 > NOTE_MOST_BYTES)
        return;
    char *note = NULL;
    if (asprintf(&note, "%s%s%s", c->note, c->note[0] ? "; " : "", owned) < 0)
        return;
    free(c->note);
    c->note = note;
    /* An end is stored with its note; anything earlier is stored at once, so that a restart keeps
     * it. */
    if (c->phase != CAMPAIGN_ENDING && c->fleet)
        store_state(c, campaign_state(c));
}

struct ending {
    struct fleet *fleet;
    char *id;
};

static void on_ended(void *arg, const struct err *e)
{
    struct ending *ending = arg;
    struct fleet *f = ending->fleet;
    struct campaign *c = fleet_find(f, ending->id);
    free(ending->id);
    free(ending);
    if (e) {
        fleet_failed(f, e);
        return;
    }
    if (!c)
        return;
    log_info("campaign %s: %s%s%s", c->id, c->end_state, c->note[0] ? ", " : "", c->note);
    cleanup_free char *id = memory_text(c->id);
    fleet_remove(f, c);
    if (!f->stopped)
        f->events.changed(f->arg, id);
    fleet_advance(f);
}

void campaign_end(struct campaign *c, const char *state)
{
    if (c->phase == CAMPAIGN_ENDING)
        return;
    c->end_state = memory_text(state);
    c->phase = CAMPAIGN_ENDING;
    struct ending *ending = memory_need(calloc(1, sizeof *ending));
    *ending = (struct ending){c->fleet, memory_text(c->id)};
    store_set_state(c->fleet->settings.store, c->id, state, c->note, on_ended, ending);
}

/* A cancel on its way to the store. */
struct cancelling {
    struct fleet *fleet;
    char *id;
    store_done *done;
    void *arg;
};

static void on_cancel_stored(void *arg, const struct err *e)
{
    struct cancelling *x = arg;
    struct campaign *c = fleet_find(x->fleet, x->id);
    if (e)
        fleet_failed(x->fleet, e);
    else if (c && c->phase == CAMPAIGN_CANCELLING)
        work_cancel(c);
    if (x->done)
        x->done(x->arg, e);
    free(x->id);
    free(x);
}

void campaign_cancel(struct campaign *c, store_done *done, void *arg)
{
    struct cancelling *x = memory_need(calloc(1, sizeof *x));
    *x = (struct cancelling){c->fleet, memory_text(c->id), done, arg};
    /* One that is ending as cancelled is only waited for. */
    store_set_state(c->fleet->settings.store, c->id,
                    c->phase == CAMPAIGN_ENDING ? c->end_state : "cancelling", c->note,
                    on_cancel_stored, x);
    if (c->phase == CAMPAIGN_QUEUED || c->phase == CAMPAIGN_PREPARING)
        campaign_end(c, "cancelled");
    else if (c->phase == CAMPAIGN_DRAWN || c->phase == CAMPAIGN_RUNNING)
        c->phase = CAMPAIGN_CANCELLING;
    fleet_changed(c->fleet, c);
}

bool campaign_can_be_cancelled(const struct campaign *c)
{
    return c->phase != CAMPAIGN_ENDING || strcmp(c->end_state, "cancelled") == 0;
}

void campaign_begin(struct campaign *c)
{
    c->began_ns = clock_monotonic_ns();
    if (c->schedule) {
        c->phase = c->was_cancelling ? CAMPAIGN_CANCELLING : CAMPAIGN_RUNNING;
        if (c->was_cancelling)
            work_cancel(c);
        for (size_t i = 0; i < c->fleet->roster.n; i++)
            if (c->fleet->roster.hosts[i]->gone)
                work_host_gone(c, c->fleet->roster.hosts[i]);
    } else if (c->was_cancelling)
        campaign_end(c, "cancelled");
    else
        prepare_begin(c);
    fleet_changed(c->fleet, c);
}
