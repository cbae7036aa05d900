/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sections of a plan: which there are, by which rows each is read, and what refers to what. */
#include "coordinator/plan/reader.h"

#include "common/libconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const top_level[] = {"campaign",   "image",  "guest", "workload",
                                        "experiment", "design", "hosts", "reference"};

static const config_setting_t *top(const struct reader *r, const char *name)
{
    return config_setting_get_member(config_root_setting(&r->config), name);
}

static void check_top_level(struct reader *r)
{
    const config_setting_t *root = config_root_setting(&r->config);
    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *s = config_setting_get_elem(root, (unsigned)i);
        struct suggestion near = {.nearest.wanted = config_setting_name(s)};
        bool known = false;
        for (size_t j = 0; j < sizeof top_level / sizeof *top_level; j++) {
            suggestion_offer(&near, top_level[j]);
            known = known || strcmp(top_level[j], config_setting_name(s)) == 0;
        }
        char text[512];
        if (!known)
            reader_diagnose(r, s->line, "unknown section `%s`%s", config_setting_name(s),
                            suggestion_text(&near, text));
        else if (!config_setting_is_group(s))
            reader_diagnose(r, s->line, "`%s` is %s; expected a group, %s = { ... }",
                            config_setting_name(s), libconf_type(s), config_setting_name(s));
    }
}

/* A section that stands once; NULL where it is absent or no group. */
static const config_setting_t *top_group(const struct reader *r, const char *name)
{
    const config_setting_t *s = top(r, name);
    return s && config_setting_is_group(s) ? s : NULL;
}

static void read_single(struct reader *r, const char *name, const struct key_row *rows,
                        struct section *ret)
{
    char what[64];
    snprintf(what, sizeof what, "`%s`", name);
    section_read(r, top_group(r, name), &(struct section_rules){.rows = rows, .what = what}, ret);
}

typedef void read_named(struct reader *r, const config_setting_t *group, const char *what,
                        struct section *ret);

/* The `image`, `guest`, `experiment` sections: groups of named groups. */
static void read_named_groups(struct reader *r, const char *kind, read_named *read,
                              struct sections *ret)
{
    const config_setting_t *all = top_group(r, kind);
    int n = all ? config_setting_length(all) : 0;
    if (n > PLAN_MOST_SECTIONS) {
        reader_diagnose(r, all->line, "%d sections in `%s`; expected at most %d", n, kind,
                        PLAN_MOST_SECTIONS);
        return;
    }
    ret->items = calloc((size_t)n + 1, sizeof *ret->items);
    if (!ret->items)
        abort();
    for (int i = 0; i < n; i++) {
        const config_setting_t *group = config_setting_get_elem(all, (unsigned)i);
        const char *name = config_setting_name(group);
        char what[128];
        snprintf(what, sizeof what, "the %s `%.63s`", kind, name);
        if (!config_setting_is_group(group))
            reader_diagnose(r, group->line, "%s is %s; expected a group, %.63s = { ... }", what,
                            libconf_type(group), name);
        else if (!name_is_good(name))
            reader_diagnose(r, group->line,
                            "%s is no good name; expected a-z, 0-9, `_`, `-`, at most 63 of them",
                            what);
        else
            read(r, group, what, &ret->items[ret->n++]);
    }
}

static void read_image(struct reader *r, const config_setting_t *group, const char *what,
                       struct section *ret)
{
    const struct section_rules rules = {.rows = catalog_image_keys, .factors = true, .what = what};
    section_read(r, group, &rules, ret);
}

/* The plug-in that a section's key names; diagnoses one that does not exist. */
static const struct catalog_entry *find_entry(struct reader *r, const config_setting_t *group,
                                              const char *key, enum catalog_kind kind,
                                              const char *fallback)
{
    static const char *const kinds[] = {"backend", "probe", "workload"};
    const config_setting_t *s = config_setting_get_member(group, key);
    const char *name = s ? config_setting_get_string(s) : fallback;
    if (!name)
        return NULL; /* missing or of another type: section_read says so */
    const struct catalog_entry *entry = catalog_find(kind, name);
    if (entry)
        return entry;
    struct suggestion near = {.nearest.wanted = name};
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++)
        if ((*e)->kind == kind)
            suggestion_offer(&near, (*e)->name);
    char text[512];
    if (*near.known)
        suggestion_text(&near, text);
    else
        snprintf(text, sizeof text, "; this version has no %s", kinds[kind]);
    reader_diagnose(r, (s ? s : group)->line, "unknown %s \"%.60s\"%s", kinds[kind], name, text);
    return NULL;
}

static void read_guest(struct reader *r, const config_setting_t *group, const char *what,
                       struct section *ret)
{
    const struct catalog_entry *entry = find_entry(r, group, "backend", CATALOG_BACKEND, NULL);
    const struct section_rules rules = {.rows = catalog_guest_keys,
                                        .more = entry ? entry->keys : NULL,
                                        .factors = true,
                                        .what = what,
                                        .skip_unknown = !entry};
    section_read(r, group, &rules, ret);
    ret->entry = entry;
    const struct key_values *image = section_key(ret, "image");
    if (entry && !entry->needs_image && image->given)
        reader_diagnose(r, image->line, "the backend `%s` takes no image", entry->name);
}

static void read_repeat_group(struct reader *r, const config_setting_t *s, Plimsoll__Repeat *ret)
{
    struct section group;
    section_read(r, s, &(struct section_rules){.rows = catalog_repeat_keys, .what = "`repeat`"},
                 &group);
    const struct value *usual = section_value(&group, "default");
    const struct value *kvm = section_value(&group, "kvm");
    const struct value *tcg = section_value(&group, "tcg");
    ret->default_count = usual ? (uint32_t)usual->integer : 0;
    ret->kvm = kvm ? (uint32_t)kvm->integer : 0;
    ret->tcg = tcg ? (uint32_t)tcg->integer : 0;
    section_clear(&group);
}

static void read_experiment(struct reader *r, const config_setting_t *group, const char *what,
                            struct section *ret)
{
    const struct catalog_entry *entry = find_entry(
        r, group, "probe", CATALOG_PROBE, key_row_find(catalog_experiment_keys, "probe")->fallback);
    const config_setting_t *repeat = config_setting_get_member(group, "repeat");
    bool by_accelerator = repeat && config_setting_is_group(repeat);
    const struct section_rules rules = {.rows = catalog_experiment_keys,
                                        .more = entry ? entry->keys : NULL,
                                        .factors = true,
                                        .what = what,
                                        .skip = by_accelerator ? "repeat" : NULL,
                                        .skip_unknown = !entry};
    section_read(r, group, &rules, ret);
    ret->entry = entry;
    Plimsoll__Repeat *to = &r->repeats[ret - r->experiments.items];
    plimsoll__repeat__init(to);
    const struct value *count = section_value(ret, "repeat");
    if (by_accelerator)
        read_repeat_group(r, repeat, to);
    else
        to->default_count = count ? (uint32_t)count->integer : 0;
}

static void read_workload(struct reader *r, const config_setting_t *group, const char *what,
                          struct section *ret)
{
    const struct catalog_entry *entry = find_entry(r, group, "run", CATALOG_WORKLOAD, NULL);
    const struct section_rules rules = {.rows = catalog_workload_keys,
                                        .more = entry ? entry->keys : NULL,
                                        .factors = true,
                                        .what = what,
                                        .skip_unknown = !entry};
    section_read(r, group, &rules, ret);
    ret->entry = entry;
}

static void read_workloads(struct reader *r)
{
    struct sections workloads = {0};
    read_named_groups(r, "workload", read_workload, &workloads);
    for (size_t i = 0; i < workloads.n; i++) {
        if (workloads.items[i].entry)
            reader_warn(r, workloads.items[i].line, "no experiment uses the workload `%s`",
                        workloads.items[i].name);
        section_clear(&workloads.items[i]);
    }
    free(workloads.items);
}

/* Every name that `key` gives must be a section's. */
static void check_names(struct reader *r, const struct key_values *key,
                        const struct sections *among)
{
    for (size_t i = 0; key && i < key->n; i++) {
        struct section *found = sections_find(among, key->values[i].text);
        if (found) {
            found->used = true;
            continue;
        }
        struct suggestion near = {.nearest.wanted = key->values[i].text};
        for (size_t j = 0; j < among->n; j++)
            suggestion_offer(&near, among->items[j].name);
        char text[512];
        reader_diagnose(r, key->lines[i], "unknown %s \"%s\"%s", key->row->name,
                        key->values[i].text, suggestion_text(&near, text));
    }
}

static void check_image(struct reader *r, const struct section *guest)
{
    const struct key_values *image = section_key(guest, "image");
    check_names(r, image, &r->images);
    if (!guest->entry || !guest->entry->needs_image || image->given)
        return;
    if (r->images.n == 1)
        r->images.items[0].used = true;
    else if (r->images.n > 1)
        reader_diagnose(r, guest->line,
                        "the guest `%s` says no `image`; expected one, since the plan has %zu",
                        guest->name, r->images.n);
}

/* Only of a plan without errors: a misspelt name would make two complaints. */
static void warn_unused(struct reader *r)
{
    for (size_t i = 0; i < r->guests.n; i++)
        if (!r->guests.items[i].used)
            reader_warn(r, r->guests.items[i].line, "no experiment uses the guest `%s`",
                        r->guests.items[i].name);
    for (size_t i = 0; i < r->images.n; i++)
        if (!r->images.items[i].used)
            reader_warn(r, r->images.items[i].line, "no guest uses the image `%s`",
                        r->images.items[i].name);
}

static void check_uses(struct reader *r)
{
    for (size_t i = 0; i < r->guests.n; i++)
        check_image(r, &r->guests.items[i]);
    for (size_t i = 0; i < r->experiments.n; i++) {
        const struct key_values *guest = section_key(&r->experiments.items[i], "guest");
        check_names(r, guest, &r->guests);
        for (size_t j = 0; !guest->given && j < r->guests.n; j++)
            r->guests.items[j].used = true;
    }
    if (r->diagnostics->n_errors == 0)
        warn_unused(r);
}

static void check_present(struct reader *r, const char *name)
{
    const config_setting_t *s = top(r, name);
    if (!s)
        reader_diagnose(r, 1, "no `%s` section; expected %s = { NAME = { ... } }", name, name);
    else if (config_setting_is_group(s) && config_setting_length(s) == 0)
        reader_diagnose(r, s->line, "`%s` is empty; expected at least one NAME = { ... } in it",
                        name);
}

/* Row bounds are whole numbers; this one's are not. */
static void check_confidence(struct reader *r)
{
    const struct key_values *key = section_key(&r->design, "confidence");
    if (key->n > 0 && (key->values[0].real < 0.5 || key->values[0].real > 0.9999))
        reader_diagnose(r, key->line,
                        "`confidence`: expected a number from 0.5 to 0.9999, found %g",
                        key->values[0].real);
}

void reader_sections(struct reader *r)
{
    r->repeats = calloc(PLAN_MOST_SECTIONS, sizeof *r->repeats);
    if (!r->repeats)
        abort();
    check_top_level(r);
    if (config_setting_length(config_root_setting(&r->config)) == 0) {
        reader_diagnose(r, 1, "the plan says nothing; expected `guest` and `experiment` sections");
    } else {
        check_present(r, "guest");
        check_present(r, "experiment");
    }
    read_single(r, "campaign", catalog_campaign_keys, &r->campaign);
    read_single(r, "design", catalog_design_keys, &r->design);
    read_single(r, "hosts", catalog_hosts_keys, &r->hosts);
    section_read(r, NULL, &(struct section_rules){.rows = catalog_image_keys, .what = "`image`"},
                 &r->default_image);
    r->default_image.name = "debian";
    read_named_groups(r, "image", read_image, &r->images);
    read_named_groups(r, "guest", read_guest, &r->guests);
    read_named_groups(r, "experiment", read_experiment, &r->experiments);
    read_workloads(r);
    check_confidence(r);
    check_uses(r);
}

static void sections_clear(struct sections *s)
{
    for (size_t i = 0; i < s->n; i++)
        section_clear(&s->items[i]);
    free(s->items);
    *s = (struct sections){0};
}

void reader_clear(struct reader *r)
{
    section_clear(&r->campaign);
    section_clear(&r->design);
    section_clear(&r->hosts);
    section_clear(&r->default_image);
    sections_clear(&r->images);
    sections_clear(&r->guests);
    sections_clear(&r->experiments);
    free(r->repeats);
    r->repeats = NULL;
}
