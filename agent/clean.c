/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/clean.h"

#include "agent/guest/guest.h"
#include "agent/guestd/client.h"
#include "common/cleanup.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

static void keep_first(struct err *first, struct err *next)
{
    if (first->code == ERR_NONE)
        err_move(first, next);
    else
        log_warning("%s", err_text(next));
}

int clean_host(struct host *h, unsigned *removed, struct err *e)
{
    struct err first = ERR_INIT;
    for (const struct guest_ops *const *at = guest_backends(); *at; at++) {
        cleanup_err struct err one = ERR_INIT;
        if ((*at)->sweep && (*at)->sweep(h, removed, &one) < 0) {
            err_prefix(&one, "backend %s", (*at)->catalog->name);
            keep_first(&first, &one);
        }
    }
    cleanup_err struct err journal = ERR_INIT;
    if (host_sweep(h, removed, &journal) < 0)
        keep_first(&first, &journal);
    if (first.code == ERR_NONE)
        return 0;
    host_keep_registered(h);
    return err_move(e, &first);
}

static int clean_one(const struct host *own, const char *id, unsigned *removed, unsigned *alive,
                     struct err *e)
{
    struct host dead;
    cleanup_err struct err opening = ERR_INIT;
    if (host_open_dead(own, id, &dead, &opening) < 0) {
        /* Gone meanwhile, or alive: both are as they should be. */
        *alive += opening.code == ERR_REFUSED;
        if (opening.code == ERR_UNAVAILABLE) {
            log_info("%s; it is cleaned from there", err_text(&opening));
            return 0;
        }
        if (opening.code == ERR_REFUSED || opening.code == ERR_NOT_FOUND)
            return 0;
        return err_move(e, &opening);
    }
    unsigned before = *removed;
    int failed = clean_host(&dead, removed, e);
    if (dead.guestd)
        guestd_stop(&dead.guestd);
    log_info("agent %s was killed; removed what it left: %u", id, *removed - before);
    host_close(&dead);
    return failed ? err_prefix(e, "leftovers of agent %s", id) : 0;
}

int clean_dead(const struct host *h, unsigned *removed, unsigned *alive, struct err *e)
{
    char(*ids)[9] = NULL;
    size_t n = 0;
    cleanup_close int cleaning = -1;
    if (host_lock_cleaning(h, &cleaning, e) < 0 || host_registered(h->run_folder, &ids, &n, e) < 0)
        return -1;
    struct err first = ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        cleanup_err struct err one = ERR_INIT;
        if (strcmp(ids[i], h->id) != 0 && clean_one(h, ids[i], removed, alive, &one) < 0)
            keep_first(&first, &one);
    }
    free(ids);
    return err_move(e, &first);
}
