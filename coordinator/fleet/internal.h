/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fleet's own structures; private to it. */
#ifndef COORDINATOR_FLEET_INTERNAL_H
#define COORDINATOR_FLEET_INTERNAL_H

#include "coordinator/fleet/fleet.h"
#include "coordinator/fleet/roster.h"
#include "coordinator/schedule/schedule.h"

enum {
    NOTE_MOST_BYTES = 2048,
    /* A host that has not said what it can run by then is left out: the trial boots of all kernels
       of a plan. */
    PREPARE_MOST_S = 900,
};

enum campaign_phase {
    CAMPAIGN_QUEUED,
    CAMPAIGN_PREPARING,
    CAMPAIGN_DRAWN, /* its schedule is on its way to the store */
    CAMPAIGN_RUNNING,
    CAMPAIGN_CANCELLING, /* waits for what still runs */
    CAMPAIGN_ENDING,     /* its last state is on its way to the store */
};

/* A host's part in the preparation. */
struct preparing {
    char *host;
    char *identity, *software;
    int64_t asked_ns;             /* monotonic; the first time, or when it was back */
    unsigned asked_join;          /* the session it was asked in, as fleet_host counts them */
    Plimsoll__Prepared *prepared; /* NULL while it has not answered */
    bool dropped;                 /* it went away; asked again where it comes back in time */
    bool late;                    /* dropped because it did not answer */
};

struct campaign {
    struct fleet *fleet; /* NULL until it is queued */
    struct campaign *next;
    char *id;
    Plimsoll__Plan *plan;
    int64_t submitted_ns;
    bool keep_failed;
    enum campaign_phase phase;
    bool was_cancelling; /* found so in the store */
    char *note;
    char *end_state; /* while ending */

    int64_t began_ns; /* monotonic; when its turn came */
    char **expected;  /* names of the agents whose keys are allowed */
    size_t n_expected;
    struct preparing *preparing;
    size_t n_preparing;

    struct schedule *schedule;                 /* NULL before it is drawn */
    uint64_t earlier_failed, earlier_rejected; /* attempts before this coordinator's start */
};

struct fleet {
    struct fleet_settings settings;
    char *keys_folder, *store_path;
    struct fleet_events events;
    void *arg;
    struct server *server;
    struct roster roster;
    struct campaign *campaigns; /* the first one is worked on */
    uv_timer_t tick;
    bool stopped;
};

/* ---- fleet.c ---- */
void fleet_failed(struct fleet *f, const struct err *e);
void fleet_changed(struct fleet *f, const struct campaign *c);
/* The campaign that is worked on; NULL: none. */
struct campaign *fleet_current(const struct fleet *f);
struct campaign *fleet_find(const struct fleet *f, const char *id);
void fleet_remove(struct fleet *f, struct campaign *c);
/* Whatever can go on goes on: call after anything has changed. */
void fleet_advance(struct fleet *f);

/* ---- campaign.c ---- */
struct campaign *campaign_new(const char *id);
void campaign_free(struct campaign **c);
/* Adds a sentence to the note, once. */
void campaign_note(struct campaign *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The word for the store. */
const char *campaign_state(const struct campaign *c);
/* Stores the last state; the campaign leaves the queue when that is committed. */
void campaign_end(struct campaign *c, const char *state);
/* Hosts are told once the store has it; then `done`, which may be NULL. */
void campaign_cancel(struct campaign *c, store_done *done, void *arg);
/* Not where it is ending otherwise. */
bool campaign_can_be_cancelled(const struct campaign *c);
/* One whose preparation has not begun begins it. */
void campaign_begin(struct campaign *c);

/* ---- prepare.c ---- */
void prepare_begin(struct campaign *c);
/* Asks who is there, and draws the order once everybody has answered. */
void prepare_advance(struct campaign *c);
void prepare_answer(struct campaign *c, const struct fleet_host *h, const Plimsoll__Prepared *said);
void prepare_clear(struct campaign *c);

/* ---- work.c ---- */
void work_advance(struct campaign *c);
void work_answer(struct fleet *f, struct fleet_host *h, const Plimsoll__Result *r);
/* The host is back, or was heard: is what it says it runs what we think it holds? */
void work_reconcile(struct fleet *f, struct fleet_host *h);
void work_beat(struct fleet *f, struct fleet_host *h, const Plimsoll__Beat *beat);
void work_progress(struct fleet *f, struct fleet_host *h, const Plimsoll__Progress *p);
/* The host is gone: its lease ends, and under "any" its trials move. */
void work_host_gone(struct campaign *c, struct fleet_host *h);
/* Gives up what only hosts that were gone for too long could do. */
void work_check_patience(struct campaign *c, int64_t now_ns);
/* Tells every host that holds a trial to stop it. */
void work_cancel(struct campaign *c);
/* The trial the host holds for the campaign; NULL: none. */
const struct trial *work_held(const struct campaign *c, const struct fleet_host *h);

#endif
