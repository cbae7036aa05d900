/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The clients' own structures; private to them. */
#ifndef COORDINATOR_CLIENTS_INTERNAL_H
#define COORDINATOR_CLIENTS_INTERNAL_H

#include "coordinator/clients/clients.h"
#include "coordinator/store/read.h"

#include <stdbool.h>

enum {
    MOST_JOBS = 64,
    MOST_JOBS_OF_A_CLIENT = 4, /* one session */
    MOST_JOBS_OF_A_KEY = 16,   /* all sessions of a key: there is always room for others */
    MOST_BLOBS = 64,
    MOST_BLOBS_OF_A_CLIENT = 4,
    MOST_BLOBS_OF_A_KEY = 16,
    SLICE_BYTES = 512 << 10,
    /* coordctl's exit codes, as its verb.h has them. */
    EXIT_WRONG = 2,
    EXIT_NO_ANSWER = 3,
};

struct client {
    struct clients *all;
    struct client *next;
    char key[KEY_Z85_BYTES]; /* public; one key may have many sessions */
    struct session *session; /* NULL once it has left; freed when no job refers to it */
    unsigned jobs;
    unsigned blobs;
    char *watched; /* NULL: watches nothing */
    uint32_t watch_request;
    bool dirty;   /* the watched campaign has changed since it was told */
    bool looking; /* a job reads how it ended */
    bool deaf;    /* the last answer found its queue full; that is logged once */
};

/* A report that is being pulled. */
struct blob {
    uint64_t number; /* 0: free */
    struct client *owner;
    int fd;
    uint64_t bytes;
    uint32_t exit_code;
};

struct clients {
    struct clients_settings settings;
    char *store_path, *program;
    struct server *server;
    struct client *list;
    unsigned jobs;
    struct blob blobs[MOST_BLOBS];
    uint64_t next_blob;
    uv_timer_t flush;
    bool stopped;
};

/* ---- A request that needs a worker thread ---- */

struct job {
    uv_work_t work;
    struct client *client;
    uint32_t request;
    void (*run)(struct job *job);    /* on a worker thread */
    void (*finish)(struct job *job); /* on the loop's; the client may have left */
    struct err error;

    char *campaign;
    uint64_t trial;
    uint32_t most;
    int format;
    int fd;
    uint64_t bytes;
    uint32_t exit_code;
    char *state;
    int64_t submitted_ns;
    bool keep_failed;
    ProtobufCMessage *ask;    /* owned */
    ProtobufCMessage *answer; /* owned; of frame_read where `answer_framed` */
    bool answer_framed;
    struct campaign *loaded;
};

/* NULL where too many are under way; the client was told then. */
struct job *job_new(struct client *c, uint32_t request);
void job_start(struct job *job, void (*run)(struct job *), void (*finish)(struct job *));
/* Ends a job that was started or not. */
void job_free(struct job *job);

/* What all sessions of the client's key have under way. */
struct share {
    unsigned jobs, blobs;
};
struct share client_share_of_key(const struct client *c);

/* ---- Answers; a client that has left hears nothing ---- */
/* -1 where the client does not read what it was sent before, or is gone. That an answer cannot be
 * sent to anybody, the client is told instead. */
int client_answer(struct client *c, Plimsoll__Envelope *m, uint32_t request);
void client_fail(struct client *c, uint32_t request, uint32_t exit_code, const char *text);
/* As above, with the code its kind stands for. */
void client_fail_with(struct client *c, uint32_t request, const struct err *e);
int client_answer_campaigns(struct client *c, uint32_t request, Plimsoll__Campaign **list,
                            size_t n);

/* ---- Requests ---- */
void request_list(struct client *c, uint32_t request, const Plimsoll__ListCampaigns *ask);
void request_status(struct client *c, uint32_t request, const Plimsoll__Status *ask);
void request_watch(struct client *c, uint32_t request, const Plimsoll__Watch *ask);
/* Tells a watcher how things stand; true when there is nothing left to tell for now. */
bool watch_tell(struct client *c);
void request_show(struct client *c, uint32_t request, const Plimsoll__Show *ask);
void request_report(struct client *c, uint32_t request, const Plimsoll__Report *ask);
void request_slice(struct client *c, uint32_t request, const Plimsoll__Slice *ask);
void blobs_drop(struct client *c);
void request_submit(struct client *c, uint32_t request, const Plimsoll__Submit *ask);

/* A campaign as the store has it; any thread. */
int stored_campaign(struct reader *r, const char *id, bool with_missing, Plimsoll__Campaign **ret,
                    struct err *e);

#endif
