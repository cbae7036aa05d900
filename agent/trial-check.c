/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/trial-check.h"

#include "agent/guest/guest.h"
#include "agent/probe/probe.h"
#include "proto/settings.h"

#include <string.h>

int trial_check_allowed(const struct host *h, const char *backend, struct err *e)
{
    if (strcmp(backend, "process") == 0 && !h->allow_process)
        return err_set(e, ERR_UNAVAILABLE,
                       "the backend process runs programs on the host itself, and this agent's "
                       "configuration does not say `allow_process = true`");
    if (strcmp(backend, "fake") == 0 && !h->allow_fake)
        return err_set(e, ERR_UNAVAILABLE,
                       "the backend fake is for tests, and this agent's configuration does not say "
                       "`allow_fake = true`");
    return 0;
}

int trial_check_guest(const struct host *h, const Plimsoll__Section *guest,
                      const Plimsoll__Section *image, struct err *e)
{
    const struct guest_ops *ops = guest_backend_find(guest->plugin);
    if (!ops)
        return err_set(e, ERR_UNAVAILABLE, "this agent was built without the backend %s",
                       guest->plugin);
    if (trial_check_allowed(h, ops->catalog->name, e) < 0)
        return -1;
    if (settings_check(guest, ops->catalog->keys, e) < 0)
        return err_prefix(e, "guest %s", guest->name);
    if (!ops->catalog->needs_image)
        return 0;
    if (!image)
        return err_set(e, ERR_INPUT,
                       "guest %s: the backend %s needs an image, and none came with it",
                       guest->name, guest->plugin);
    if (settings_check(image, catalog_image_keys, e) < 0)
        return err_prefix(e, "image %s", image->name);
    return 0;
}

int trial_check(const struct host *h, const Plimsoll__Assign *a, struct err *e)
{
    const Plimsoll__Cell *c = a->cell;
    if (!a->lease || !c || !c->guest || !c->probe)
        return err_set(e, ERR_PROTOCOL, "the assignment lacks its %s",
                       !a->lease   ? "lease"
                       : !c        ? "cell"
                       : !c->guest ? "guest"
                                   : "probe");
    const struct probe_ops *probe = probe_find(c->probe->plugin);
    if (!probe)
        return err_set(e, ERR_UNAVAILABLE, "this agent was built without the probe %s",
                       c->probe->plugin);
    if (settings_check(c->probe, probe->catalog->keys, e) < 0)
        return err_prefix(e, "probe %s", c->probe->plugin);
    return trial_check_guest(h, c->guest, c->image, e);
}
