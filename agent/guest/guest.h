/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A backend makes guests. One file each, one exported operations table; guest.c finds them by name.
 *
 * All operations are called on the trial thread, may block up to `deadline_ns`, return early with
 * ERR_CANCELLED when `cancel_fd` becomes readable, and touch nothing that does not bear the agent's
 * id. States: new -prepare-> prepared -create-> created -start-> running -stop-> stopped -destroy->
 * (gone).
 */
#ifndef AGENT_GUEST_GUEST_H
#define AGENT_GUEST_GUEST_H

#include "agent/channel.h"
#include "agent/host/host.h"
#include "common/catalog/catalog.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdint.h>
#include <sys/types.h>

/* Whether a backend can run a guest here. Texts are owned; free with guest_offer_clear. */
struct guest_offer {
    bool available;
    char *reason;      /* why not */
    char *accelerator; /* "kvm/intel", ..., "tcg"; NULL for a backend that has none */
    bool nested;
    char *note;
};
void guest_offer_clear(struct guest_offer *o);

struct guest_state; /* each backend's own */

struct guest {
    const struct guest_ops *ops;
    struct host *host;                /* borrowed */
    struct stamper *stamper;          /* borrowed */
    const Plimsoll__Section *section; /* borrowed, checked against the catalog */
    const struct image *image;        /* borrowed; NULL where the backend needs none */
    const char *accelerator;          /* as offered; "" for none */
    char *name;      /* "pl" + 8 hex digits of the agent's id + "-" + serial: unique for ever */
    unsigned serial; /* unique since the agent's first start */
    char *folder;    /* private and empty before prepare; removed by guest_free */
    int cpu;         /* the host CPU it is confined to */
    char **argv;     /* single guests: the command, NULL-terminated */
    struct channel *channel; /* made by prepare, freed by destroy's caller (guest_free) */
    struct guest_state *state;
};

struct guest_texts; /* see guest_add_text */

/* What probes may know of a guest: nothing else crosses from guests to probes. */
struct guest_scope {
    char *cgroup; /* relative path within each hierarchy; NULL without one; the caller's to free */
    pid_t leader; /* the container's init, QEMU, or the process */
};
void guest_scope_clear(struct guest_scope *s);
#define cleanup_guest_scope __attribute__((cleanup(guest_scope_clear)))

struct guest_ops {
    const struct catalog_entry *catalog;

    /* Can this host run the section? Boots something only for an accelerator's trial boot, whose
     * answer is remembered. An unavailable guest is a good answer (0), not an error. Legal in no
     * state. */
    int (*check_host)(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                      const struct image *image, int cancel_fd, struct guest_offer *ret,
                      struct err *e);

    /* new -> prepared. Everything a real operator would have ready before the request, untimed:
     * overlay mounted, disk overlay made, bridge up, guestd running, channel listening. */
    int (*prepare)(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);

    /* prepared -> created. Timed: after the caller stamped STAMP_REQUEST. Stamps STAMP_CREATED only
     * where the objects exist before anything may run (a VM's paused start). */
    int (*create)(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);

    /* created -> running. Timed. Stamps STAMP_STARTED where it knows it. Returning is not ready. */
    int (*start)(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);

    /* running. Waits until STAMP_READY arrived. NULL: channel_wait does. Also notices a guest that
     * died. */
    int (*wait_ready)(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);

    /* running and ready. Runs argv inside. NULL: channel_exec does. */
    int (*exec)(struct guest *g, const Plimsoll__Exec *exec, int64_t deadline_ns, int cancel_fd,
                Plimsoll__Finished **ret, struct err *e);

    /* running. */
    int (*scope)(struct guest *g, struct guest_scope *ret, struct err *e);

    /* Not before a later version; NULL means unsupported. */
    int (*checkpoint)(struct guest *g, const char *folder, struct err *e);
    int (*restore)(struct guest *g, const char *folder, struct err *e);

    /* any state -> stopped. Not gracefully: nothing that runs inside is worth waiting for. */
    int (*stop)(struct guest *g, int64_t deadline_ns, struct err *e);

    /* any state, any number of times, half-prepared too. Leaves no trace on the host except the
     * folder's files; frees the state. Tries everything and reports the first error. */
    int (*destroy)(struct guest *g, struct err *e);

    /* any state before destroy. The guest as it really ran and what it said: definition, console,
     * logs. Adds each with guest_add_text. */
    void (*texts)(struct guest *g, struct guest_texts *to);

    /* Host-wide: removes whatever an earlier life of this agent left behind, found by cgroup and
     * metadata, never by name alone. Called at the agent's start, its stop and by --clean, without
     * any guest. Adds the number of things it removed. */
    int (*sweep)(struct host *host, unsigned *removed, struct err *e);
};

/* Tables of the backends that this build has, ended by NULL. */
const struct guest_ops *const *guest_backends(void);
const struct guest_ops *guest_backend_find(const char *name);

/* A guest in state new with its folder made. `section` and `image` must outlive it. */
int guest_new(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
              const struct image *image, const char *accelerator, int cpu, struct guest **ret,
              struct err *e);
/* Destroys if that was not done, removes the folder. NULL is fine. */
void guest_free(struct guest **g);

/* Keeps at most the last 64 KiB; names as in proto Text. */
void guest_add_text(struct guest_texts *to, const char *name, const char *text, size_t length);
void guest_add_file(struct guest_texts *to, const char *name, const char *path);

struct guest_texts {
    Plimsoll__Text *items[8];
    size_t n;
};
void guest_texts_clear(struct guest_texts *t);

#endif
