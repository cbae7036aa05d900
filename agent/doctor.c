/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/doctor.h"

#include "agent/guest/guest.h"
#include "agent/trial-check.h"
#include "common/cleanup.h"
#include "common/value.h"
#include "proto/settings.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* ---- A section as a plan without a word about it would give ---- */

static Plimsoll__Section *default_section(const struct catalog_entry *entry)
{
    Plimsoll__Section *s = need(malloc(sizeof *s));
    plimsoll__section__init(s);
    s->name = need(strdup(entry->name));
    s->plugin = need(strdup(entry->name));
    size_t n = 0;
    while (entry->keys[n].name)
        n++;
    s->settings = need(calloc(n + 1, sizeof(Plimsoll__Setting *)));
    for (const struct key_row *row = entry->keys; row->name; row++) {
        if (!row->fallback)
            continue;
        struct value v = {0};
        value_fallback(row, &v);
        s->settings[s->n_settings++] = setting_new(row, &v);
        value_clear(&v);
    }
    return s;
}

/* ---- Backends ---- */

static int ask(struct bench *b, const struct guest_ops *ops, const struct image *image,
               struct guest_offer *ret, struct err *e)
{
    if (trial_check_allowed(b->host, ops->catalog->name, e) < 0)
        return -1;
    if (ops->catalog->needs_image && access(b->host->images_folder, R_OK) < 0 && errno == EACCES)
        return err_set(e, ERR_UNAVAILABLE, "the images in %s are for root alone",
                       b->host->images_folder);
    if (ops->catalog->needs_image && !image)
        return err_set(e, ERR_UNAVAILABLE, "no image is built in %s", b->host->images_folder);
    Plimsoll__Section *section = default_section(ops->catalog);
    int failed = ops->check_host(b->host, b->stamper, section, image, -1, ret, e);
    plimsoll__section__free_unpacked(section, NULL);
    return failed;
}

static const char *text(const char *maybe)
{
    return maybe ? maybe : "";
}

static json_t *backend_json(struct bench *b, const struct catalog_entry *entry,
                            const struct image *image)
{
    const struct guest_ops *ops = guest_backend_find(entry->name);
    struct guest_offer offer = {0};
    cleanup_err struct err e = ERR_INIT;
    if (!ops)
        err_set(&e, ERR_UNAVAILABLE, "this build has no %s: its library was not there",
                entry->name);
    bool asked = ops && ask(b, ops, image, &offer, &e) == 0;
    json_t *json = json_pack("{s:s, s:b, s:b, s:s, s:b, s:s, s:s}", "name", entry->name, "built",
                             ops != NULL, "available", asked && offer.available, "accelerator",
                             text(offer.accelerator), "nested", offer.nested, "reason",
                             asked ? text(offer.reason) : err_text(&e), "note", text(offer.note));
    guest_offer_clear(&offer);
    return json;
}

static json_t *backends_json(struct bench *b, const struct image *image)
{
    json_t *list = json_array();
    for (const struct catalog_entry *const *at = catalog_entries(); *at; at++)
        if ((*at)->kind == CATALOG_BACKEND)
            json_array_append_new(list, backend_json(b, *at, image));
    return list;
}

/* ---- The host ---- */

static json_t *facts_json(const Plimsoll__Fingerprint *f)
{
    static const char *const tiers[] = {
        [PLIMSOLL__TIER__TIER_INFORMATION] = "information",
        [PLIMSOLL__TIER__TIER_SHOULD_MATCH] = "should match",
        [PLIMSOLL__TIER__TIER_MUST_MATCH] = "must match",
    };
    json_t *list = json_array();
    for (size_t i = 0; i < f->n_facts; i++)
        json_array_append_new(list, json_pack("{s:s, s:s%, s:s}", "key", f->facts[i]->key, "value",
                                              f->facts[i]->value, strlen(f->facts[i]->value),
                                              "tier", tiers[f->facts[i]->tier]));
    return list;
}

int doctor_print(struct bench *b, FILE *to, struct err *e)
{
    Plimsoll__Fingerprint *fingerprint = NULL;
    if (host_fingerprint(b->host, &fingerprint, e) < 0)
        return -1;
    struct image *image = NULL;
    cleanup_err struct err without = ERR_INIT;
    image_find_any(b->host, &image, &without);
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:s?, s:o, s:o}", "schema", 1, "software",
                             PLIMSOLL_VERSION, "images", b->host->images_folder, "stamper",
                             stamper_policy(b->stamper), "image", image ? image->digest : NULL,
                             "backends", backends_json(b, image), "facts", facts_json(fingerprint));
    plimsoll__fingerprint__free_unpacked(fingerprint, NULL);
    image_free(&image);
    int failed = !json || json_dumpf(json, to, JSON_INDENT(2)) < 0 || fputc('\n', to) == EOF ||
                 fflush(to) == EOF;
    json_decref(json);
    return failed ? err_system(e, errno, "cannot write what was found") : 0;
}
