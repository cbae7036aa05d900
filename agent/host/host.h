/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The host as an agent sees it: who the agent is, where its files are, what it borrowed.
 *
 * state folder (/var/lib/plimsoll/agent, or a campaign's own):
 *   id          8 hex digits, drawn once: devices are named pl<id><index>, cgroups plimsoll-<id>
 *   journal     borrowed host state, see journal.h
 *   spool/      see agent/spool.h
 *   guests/     a folder a guest, empty between trials
 *   lock        held while an agent has the folder
 * Under the run folder, agents/ID says where a living agent's state is and is locked by it; a file
 * that nobody locks is what a killed agent left, and any later start may clean up for it
 * (host_open_dead). images are found under PLIMSOLL_IMAGES, else /var/lib/plimsoll/images.
 */
#ifndef AGENT_HOST_HOST_H
#define AGENT_HOST_HOST_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;
struct guestd_client;
struct host_claim;

/* Texts and `cpus` are malloced; what is NULL at host_open takes its default; host_close frees all.
 */
struct host {
    char id[9];
    char *state_folder;
    char *images_folder;
    char *run_folder;   /* /run/plimsoll: host.lock, agents/ID -> state folder */
    char *runner_path;  /* the static plimsoll-runner */
    char *guestd_path;  /* "" where the build has none */
    char *libvirt_uri;  /* "qemu:///system" */
    bool allow_process; /* the process backend runs on the host itself */
    bool allow_fake;    /* tests only */
    struct journal *journal;
    struct guestd_client *guestd; /* started when first needed; see agent/guestd/client.h */
    char bridge[16];              /* "" until host_bridge made it */
    int n_cpus;
    int *cpus;                /* the CPUs guests may be confined to */
    struct host_claim *claim; /* what host_open holds until host_close */
};

/* Takes the state folder for this process (a second agent there is refused), reads or draws the id,
 * registers it under run_folder, opens the journal. Restores nothing yet: see host_sweep. */
int host_open(struct host *h, struct err *e);
/* Undoes what the journal holds and removes what is left of earlier lives (guests' sweep is called
 * by the agent, which knows the backends). */
int host_sweep(struct host *h, unsigned *removed, struct err *e);
/* Unregisters, unless host_keep_registered was called. The caller has stopped `guestd`. */
void host_close(struct host *h);
/* Something of the agent's is left on the host: keep the entry under run_folder for a later start.
 */
void host_keep_registered(struct host *h);
/* As above, and says in the entry that this guest is left up on purpose. */
int host_keep_guest(struct host *h, const char *guest, struct err *e);

/* Ids of registered agents, dead or not, sorted; an array of `n` to free. */
int host_registered(const char *run_folder, char (**ret_ids)[9], size_t *ret_n, struct err *e);
/* Takes the place of a killed agent, to sweep and close. ERR_REFUSED while it lives, ERR_NOT_FOUND
 * when it is not registered. `own` lends its folders and programs; *ret needs no initialisation. */
int host_open_dead(const struct host *own, const char *id, struct host *ret, struct err *e);

/* One lock a real host for host-wide settings and timed windows: several agents (a lab) take turns.
 * Waits until the deadline or cancel. Returns a descriptor to close. */
int host_lock(struct host *h, int64_t deadline_ns, int cancel_fd, int *ret_fd, struct err *e);

/* Held while somebody cleans up for dead agents, and by an agent while it registers: one that is
 * started again must not find its own id taken by the cleaner. Waits for a minute at most. */
int host_lock_cleaning(const struct host *h, int *ret_fd, struct err *e);

/* The fingerprint, read anew. Free with frame_free or plimsoll__fingerprint__free_unpacked. */
int host_fingerprint(struct host *h, Plimsoll__Fingerprint **ret, struct err *e);

/* The agent's bridge, made at first use and journalled; the name is the host's until host_close. */
int host_bridge(struct host *h, const char **ret_name, struct err *e);

/* ---- Images ---- */
struct image {
    char *folder; /* .../images/<64 hex digits> */
    char *digest; /* "sha256:..." of the content */
    char *root;   /* read-only root of containers */
    char *disk;   /* raw ext4 disk, sparse at its full size; NULL where none was built */
    char *kernel; /* NULL where none */
    char *initrd; /* our own, without the runner: see deploy/image */
    char *kernel_digest;
};
/* Looks up the built image of a recipe. ERR_NOT_FOUND says how to build it; an image whose files do
 * not fit its manifest is ERR_UNAVAILABLE. */
int image_find(struct host *h, const Plimsoll__Section *recipe, struct image **ret, struct err *e);
/* One of the images built here, the first by its name: to try a backend out. ERR_NOT_FOUND: none.
 */
int image_find_any(struct host *h, struct image **ret, struct err *e);
void image_free(struct image **i);

#endif
