/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The hosts this coordinator knows: who they are, whether they live, how far their spools have
 * arrived. */
#ifndef COORDINATOR_FLEET_ROSTER_H
#define COORDINATOR_FLEET_ROSTER_H

#include "common/clock.h"
#include "common/digest.h"
#include "proto/keys.h"
#include "proto/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the time after which a host is gone: it is called silent after a third, and beats nine times
 * in it. */
enum { HOST_SILENT_PART = 3, HOST_BEATS = 9 };
/* Beats in a row that deny the attempt the host holds, and it is lost: the assignment never got
 * there. */
enum { HOST_MOST_IDLE_BEATS = 3 };

/* Results of a host on their way to the store: more than an agent sends before it waits, and few
 * enough that a thousand hosts do not fill the memory. */
enum { HOST_MOST_UNCOMMITTED = 64 };

struct fleet_host {
    char *name;
    struct session *session; /* NULL while there is none */
    unsigned joins;          /* sessions so far */
    int64_t heard_ns;        /* monotonic; when it was added, before it was ever heard */
    bool gone;               /* heard of for too long no more; ends its lease */
    char *software;
    Plimsoll__Fingerprint *fingerprint; /* NULL before the first hello */
    char identity[DIGEST_TEXT_BYTES]; /* of the facts that must match; "" before the first hello */

    char key[KEY_Z85_BYTES]; /* its results' source: stays through a rotation */
    char *spool;
    uint64_t spool_end; /* next_sequence of its hello: all before it has come, or is still in the
                           spool */
    uint64_t running;   /* the lease it says it runs; 0: none */
    uint64_t answered;  /* the lease of its last result: until that is committed it says so still */
    uint64_t disowned;  /* the lease it held for us at its hello and did not know of; 0: none */
    unsigned idle_beats;
    unsigned uncommitted; /* results on their way to the store */
    char stage[32];       /* of the attempt it runs */
};

struct source; /* a spool */

struct roster {
    struct fleet_host **hosts; /* by name */
    size_t n, capacity;
    struct source *sources;
    size_t n_sources, sources_capacity;
};

void roster_clear(struct roster *r);
/* NULL where there is none. */
struct fleet_host *roster_find(const struct roster *r, const char *name);
/* Finds or adds; a new one counts as heard now. */
struct fleet_host *roster_add(struct roster *r, const char *name);
/* What a hello says of its host. */
void roster_greet(struct fleet_host *h, struct session *s, const Plimsoll__Hello *hello);

/* "connected", "silent" or "gone", which it is after `gone_ns` of silence. */
const char *roster_state(const struct fleet_host *h, int64_t now_ns, int64_t gone_ns);

/* SHA-256 over the facts of tier "must match", in order of their keys. */
void roster_identity(const Plimsoll__Fingerprint *f, char ret_text[DIGEST_TEXT_BYTES]);

/* The sequence the next result of a spool should bear; false: nothing ever came from it. */
bool roster_next_sequence(const struct roster *r, const char *key, const char *spool,
                          uint64_t *ret_next);
/* Never moves back. */
void roster_set_next_sequence(struct roster *r, const char *key, const char *spool, uint64_t next);
/* Whether all that the host's spool held at its hello has come. */
bool roster_drained(const struct roster *r, const struct fleet_host *h);

#endif
