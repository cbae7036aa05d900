/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/offer.h"

#include "agent/guest/guest.h"
#include "agent/trial-check.h"
#include "common/cleanup.h"

#include <stdlib.h>
#include <string.h>

/* What one answer may hold, see proto/caps.c. */
enum { MOST_OFFERS = 4096 };

static char *copy_text(const char *text)
{
    char *copy = strdup(text ? text : "");
    if (!copy)
        abort();
    return copy;
}

static Plimsoll__Offer *offer_new(const Plimsoll__Section *guest, const Plimsoll__Section *image)
{
    Plimsoll__Offer *o = malloc(sizeof *o);
    if (!o)
        abort();
    plimsoll__offer__init(o);
    o->guest = copy_text(guest->name);
    o->image = copy_text(image ? image->name : "");
    return o;
}

static int ask_backend(struct bench *b, const Plimsoll__Section *guest, struct image *image,
                       int cancel_fd, Plimsoll__Offer *o, struct err *e)
{
    const struct guest_ops *ops = guest_backend_find(guest->plugin);
    struct guest_offer answer = {0};
    if (ops->check_host(b->host, b->stamper, guest, image, cancel_fd, &answer, e) < 0)
        return -1;
    o->available = answer.available;
    o->reason = copy_text(answer.reason);
    o->accelerator = copy_text(answer.accelerator);
    o->nested = answer.nested;
    o->note = copy_text(answer.note);
    guest_offer_clear(&answer);
    if (image && ops->catalog->needs_image)
        o->image_digest = copy_text(image->digest);
    return 0;
}

static int fill(struct bench *b, const Plimsoll__Section *guest, const Plimsoll__Section *recipe,
                int cancel_fd, Plimsoll__Offer *o, struct err *e)
{
    if (trial_check_guest(b->host, guest, recipe, e) < 0)
        return -1;
    struct image *image = NULL;
    if (guest_backend_find(guest->plugin)->catalog->needs_image &&
        image_find(b->host, recipe, &image, e) < 0)
        return -1;
    int failed = ask_backend(b, guest, image, cancel_fd, o, e);
    image_free(&image);
    return failed;
}

static void add(struct bench *b, const Plimsoll__Section *guest, const Plimsoll__Section *recipe,
                int cancel_fd, Plimsoll__Prepared *to)
{
    cleanup_err struct err e = ERR_INIT;
    if (to->n_offers == MOST_OFFERS)
        return;
    Plimsoll__Offer *o = offer_new(guest, recipe);
    if (fill(b, guest, recipe, cancel_fd, o, &e) < 0) {
        o->available = false;
        o->reason = copy_text(err_text(&e));
    }
    to->offers[to->n_offers++] = o;
}

static bool needs_image(const Plimsoll__Section *guest)
{
    const struct guest_ops *ops = guest_backend_find(guest->plugin);
    return ops && ops->catalog->needs_image;
}

Plimsoll__Prepared *offer_prepare(struct bench *b, const Plimsoll__Prepare *p, int cancel_fd)
{
    Plimsoll__Prepared *to = malloc(sizeof *to);
    if (!to)
        abort();
    plimsoll__prepared__init(to);
    to->campaign = copy_text(p->campaign);
    to->offers = calloc(p->n_guests * (p->n_images + 1) + 1, sizeof(Plimsoll__Offer *));
    if (!to->offers)
        abort();
    for (size_t g = 0; g < p->n_guests; g++) {
        for (size_t i = 0; i < p->n_images; i++)
            add(b, p->guests[g], p->images[i], cancel_fd, to);
        if (!needs_image(p->guests[g]) || p->n_images == 0)
            add(b, p->guests[g], NULL, cancel_fd, to);
    }
    return to;
}
