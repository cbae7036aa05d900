// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/contract/fixture.h"

#include "agent/guestd/client.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Sections ---- */

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static Plimsoll__Strings *strings_new(char **items, size_t n)
{
    Plimsoll__Strings *list = must(malloc(sizeof(*list)));
    plimsoll__strings__init(list);
    list->n_item = n;
    list->item = must(calloc(n + 1, sizeof(*list->item)));
    for (size_t i = 0; i < n; i++)
        list->item[i] = fs_path("%s", items[i]);
    return list;
}

static Plimsoll__Value *value_of_row(const struct key_row *row)
{
    struct value from = {0};
    Plimsoll__Value *to = must(malloc(sizeof(*to)));
    plimsoll__value__init(to);
    value_fallback(row, &from);
    if (row->is_list) {
        to->kind_case = PLIMSOLL__VALUE__KIND_LIST;
        to->list = strings_new(from.items, from.n_items);
    } else if (row->type == KEY_TEXT || row->type == KEY_NAME || row->type == KEY_CHOICE) {
        to->kind_case = PLIMSOLL__VALUE__KIND_TEXT;
        to->text = fs_path("%s", from.text);
    } else if (row->type == KEY_REAL) {
        to->kind_case = PLIMSOLL__VALUE__KIND_REAL;
        to->real = from.real;
    } else if (row->type == KEY_FLAG) {
        to->kind_case = PLIMSOLL__VALUE__KIND_FLAG;
        to->flag = from.flag;
    } else {
        to->kind_case = PLIMSOLL__VALUE__KIND_INTEGER;
        to->integer = from.integer;
    }
    value_clear(&from);
    return to;
}

Plimsoll__Section *section_from_rows(const char *name, const struct key_row *rows)
{
    size_t n = 0;
    while (rows[n].name)
        n++;
    Plimsoll__Section *s = must(malloc(sizeof(*s)));
    plimsoll__section__init(s);
    s->name = fs_path("%s", name);
    s->plugin = fs_path("%s", "");
    s->settings = must(calloc(n + 1, sizeof(*s->settings)));
    for (; rows->name; rows++) {
        if (!rows->fallback)
            continue;
        Plimsoll__Setting *setting = must(malloc(sizeof(*setting)));
        plimsoll__setting__init(setting);
        setting->key = fs_path("%s", rows->name);
        setting->value = value_of_row(rows);
        s->settings[s->n_settings++] = setting;
    }
    return s;
}

static Plimsoll__Value *setting_of(const Plimsoll__Section *s, const char *key)
{
    for (size_t i = 0; i < s->n_settings; i++)
        if (strcmp(s->settings[i]->key, key) == 0)
            return s->settings[i]->value;
    fprintf(stderr, "section %s has no key %s\n", s->name, key);
    abort();
}

void section_set_list(Plimsoll__Section *s, const char *key, char **items, size_t n)
{
    Plimsoll__Value *value = setting_of(s, key);
    protobuf_c_message_free_unpacked(&value->list->base, NULL);
    value->list = strings_new(items, n);
}

void section_set(Plimsoll__Section *s, const char *key, const char *text)
{
    Plimsoll__Value *value = setting_of(s, key);
    if (value->kind_case == PLIMSOLL__VALUE__KIND_TEXT) {
        free(value->text);
        value->text = fs_path("%s", text);
    } else if (value->kind_case == PLIMSOLL__VALUE__KIND_INTEGER) {
        value->integer = strtoll(text, NULL, 10);
    } else {
        section_set_list(s, key, (char *[]){(char *)text}, 1);
    }
}

Plimsoll__Section *section_new(const struct catalog_entry *entry, const char *key, const char *text)
{
    Plimsoll__Section *s = section_from_rows(entry->name, entry->keys);
    free(s->plugin);
    s->plugin = fs_path("%s", entry->name);
    if (key)
        section_set(s, key, text);
    return s;
}

void section_free(Plimsoll__Section **s)
{
    if (*s)
        protobuf_c_message_free_unpacked(&(*s)->base, NULL);
    *s = NULL;
}

bool backend_has_key(const struct guest_ops *ops, const char *key)
{
    return key_row_find(ops->catalog->keys, key) != NULL;
}

/* ---- The host ---- */

void fixture_host_open(struct fixture *f)
{
    cleanup_err struct err e = ERR_INIT;
    f->host = (struct host){
        .state_folder = fs_path("%s/state", f->folder),
        /* The real one: whatever a killed battery leaves is found by the next `plimsoll-agent
           --clean`. */
        .run_folder = fs_path("/run/plimsoll"),
        .runner_path = fs_path("%s/plimsoll-runner", PLIMSOLL_BIN),
        .guestd_path = fs_path("%s/plimsoll-guestd", PLIMSOLL_BIN),
        .allow_process = true,
        .allow_fake = true,
    };
    if (host_open(&f->host, &e) < 0 || stamper_start(&f->stamper, &e) < 0) {
        fprintf(stderr, "fixture: %s\n", err_text(&e));
        abort();
    }
}

void fixture_host_close(struct fixture *f)
{
    guestd_stop(&f->host.guestd);
    stamper_stop(&f->stamper);
    host_close(&f->host);
}

static char *find_image(struct fixture *f)
{
    cleanup_err struct err e = ERR_INIT;
    f->image_section = section_from_rows("debian", catalog_image_keys);
    if (!f->ops->catalog->needs_image || image_find(&f->host, f->image_section, &f->image, &e) == 0)
        return NULL;
    return fs_path("%s", err_text(&e));
}

static char *ask_backend(struct fixture *f)
{
    cleanup_err struct err e = ERR_INIT;
    struct guest_offer offer = {0};
    char *why_not = NULL;
    Plimsoll__Section *section = section_new(f->ops->catalog, NULL, NULL);
    if (f->ops->check_host(&f->host, f->stamper, section, f->image, -1, &offer, &e) < 0)
        why_not = fs_path("%s", err_text(&e));
    else if (!offer.available)
        why_not = fs_path("%s", offer.reason ? offer.reason : "the backend gave no reason");
    else
        f->accelerator = fs_path("%s", offer.accelerator ? offer.accelerator : "");
    guest_offer_clear(&offer);
    section_free(&section);
    return why_not;
}

char *fixture_open(struct fixture *f, const char *backend)
{
    *f = (struct fixture){.ops = guest_backend_find(backend)};
    if (!f->ops)
        return fs_path("this build has no backend %s", backend);
    f->folder = fs_path("/tmp/plimsoll-contract-XXXXXX");
    if (!mkdtemp(f->folder))
        abort();
    fixture_host_open(f);
    f->slow = strcmp(backend, "kvm") == 0;
    char *why_not = find_image(f);
    if (!why_not)
        why_not = ask_backend(f);
    if (why_not)
        fixture_close(f);
    return why_not;
}

bool fixture_close(struct fixture *f)
{
    cleanup_err struct err e = ERR_INIT;
    unsigned removed = 0;
    bool clean =
        f->ops->sweep(&f->host, &removed, &e) == 0 && host_sweep(&f->host, &removed, &e) == 0;
    fixture_host_close(f);
    clean = clean && fs_remove_tree(f->folder, &e) == 0;
    if (!clean)
        fprintf(stderr, "fixture: %s\n", err_text(&e));
    image_free(&f->image);
    section_free(&f->image_section);
    free(f->accelerator);
    free(f->folder);
    return clean;
}

struct guest *fixture_guest(struct fixture *f, const Plimsoll__Section *section)
{
    cleanup_err struct err e = ERR_INIT;
    struct guest *g = NULL;
    int cpu = f->host.cpus[f->host.n_cpus - 1];
    if (guest_new(&f->host, f->stamper, section, f->image, f->accelerator, cpu, &g, &e) < 0) {
        fprintf(stderr, "fixture: %s\n", err_text(&e));
        abort();
    }
    return g;
}

int64_t in_seconds(double seconds)
{
    return clock_monotonic_ns() + (int64_t)(seconds * (double)NS_PER_S);
}
