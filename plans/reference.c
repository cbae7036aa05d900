/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes plans/REFERENCE.md, from the catalog's rows, to standard output. */
#include "common/catalog/catalog.h"
#include "common/cleanup.h"
#include "common/value.h"

#include <stdio.h>
#include <string.h>

static void print_list_fallback(const struct key_row *row)
{
    enum { MOST_SHOWN = 4 };
    struct value v;
    value_fallback(row, &v);
    putchar('(');
    for (size_t i = 0; i < v.n_items && i < MOST_SHOWN; i++)
        printf("%s`\"%s\"`", i > 0 ? ", " : "", v.items[i]);
    if (v.n_items > MOST_SHOWN)
        printf(", ... %zu in all, below", v.n_items);
    putchar(')');
    value_clear(&v);
}

static void print_fallback(const struct key_row *row)
{
    bool quoted = row->type != KEY_INTEGER && row->type != KEY_REAL && row->type != KEY_FLAG;
    if (row->required)
        fputs("**required**", stdout);
    else if (!row->fallback)
        fputs("-", stdout);
    else if (row->is_list)
        print_list_fallback(row);
    else
        printf("`%s%s%s`", quoted ? "\"" : "", row->fallback, quoted ? "\"" : "");
}

static void print_rows(const struct key_row *rows, bool may_be_factors)
{
    char expected[480];
    if (!rows->name) {
        puts("No keys of its own.\n");
        return;
    }
    puts("| key | takes | default | what it says |");
    puts("| --- | --- | --- | --- |");
    for (const struct key_row *row = rows; row->name; row++) {
        printf("| `%s` | %s | ", row->name, value_expected(row, expected, sizeof expected));
        print_fallback(row);
        printf(" | %s%s. |\n", row->help, may_be_factors && row->fixed ? "; never a factor" : "");
    }
    putchar('\n');
}

static void print_long_lists(const struct key_row *rows)
{
    for (; rows->name; rows++) {
        struct value v = {0};
        if (!rows->is_list || !rows->fallback)
            continue;
        value_fallback(rows, &v);
        if (v.n_items > 4) {
            cleanup_free char *all = value_format(&v, rows);
            printf("The default of `%s`:\n\n```\n", rows->name);
            for (char *item = strtok(all, " "); item; item = strtok(NULL, " "))
                printf("%s\n", item);
            puts("```\n");
        }
        value_clear(&v);
    }
}

static void print_metrics(const struct metric_row *metrics)
{
    static const char *const directions[] = {"lower", "higher", "-"};
    puts("| metric | unit | better | what it is |");
    puts("| --- | --- | --- | --- |");
    for (; metrics && metrics->name; metrics++)
        printf("| `%s` | %s | %s | %s. |\n", metrics->name, metrics->unit,
               directions[metrics->direction], metrics->help);
    putchar('\n');
}

static void print_entry(const struct catalog_entry *entry)
{
    printf("### %s\n\n%s.\n\n", entry->name, entry->help);
    if (entry->ready_means)
        printf("Ready means: %s.\n\n", entry->ready_means);
    print_rows(entry->keys, true);
    if (entry->metrics)
        print_metrics(entry->metrics);
}

static void print_entries(enum catalog_kind kind, const char *title, const char *text)
{
    printf("## %s\n\n%s\n\n", title, text);
    for (const struct catalog_entry *const *entry = catalog_entries(); *entry; entry++)
        if ((*entry)->kind == kind)
            print_entry(*entry);
}

static void print_section(const char *name, const char *text, const struct key_row *rows,
                          bool may_be_factors)
{
    printf("### %s\n\n%s\n\n", name, text);
    print_rows(rows, may_be_factors);
    print_long_lists(rows);
}

static void print_preface(void)
{
    puts(
        "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n"
        "<!-- Made from common/catalog by `cmake --build build/dev --target reference`; a test "
        "compares. "
        "-->\n"
        "# What a plan may say\n\n"
        "A plan is a text in libconfig's syntax: groups `{ }`, lists `( )`, `name = value`, "
        "comments with "
        "`#`, `//` or `/* */`. Sizes and times carry units, in quotes: `\"256MiB\"`, `\"1.5s\"`. "
        "`@include \"FILE\"` takes a file from the plan's own folder or below.\n\n"
        "A key that takes one value may take a list of them, and is a factor then: every "
        "combination of "
        "factor values is a cell. Where a list is the value itself, `( )` is one value and "
        "`(( ), ( ))` a factor. `coordctl check PLAN` says what is wrong, or what would be run.\n");
}

static void print_sections(void)
{
    puts("## Sections\n");
    print_section("campaign", "What the plan is called.", catalog_campaign_keys, false);
    print_section("image", "Named groups, `image = { NAME = { ... } }`: what guests start from.",
                  catalog_image_keys, true);
    print_section(
        "guest",
        "Named groups, `guest = { NAME = { ... } }`: kinds of guests. The backend's own keys "
        "stand beside these.",
        catalog_guest_keys, true);
    print_section("workload", "Named groups: what runs in guests.", catalog_workload_keys, true);
    print_section(
        "experiment",
        "Named groups: what is measured on which guests. The probe's own keys stand beside "
        "these.",
        catalog_experiment_keys, true);
    print_section("experiment: repeat", "`repeat = { default = 20  kvm = 10  tcg = 3 }`.",
                  catalog_repeat_keys, false);
    print_section("design", "How trials are arranged.", catalog_design_keys, false);
    print_section("hosts", "Where they run.", catalog_hosts_keys, false);
    print_section(
        "reference",
        "Named lists of groups, `reference = { paper = ({ ... }, { ... }) }`: published values, "
        "shown beside ours. Any keys of a cell (`guest`, `image`, `backend`, `memory`, ...) "
        "stand beside these and must name exactly one cell.",
        catalog_reference_keys, false);
}

int main(void)
{
    print_preface();
    print_sections();
    print_entries(CATALOG_BACKEND, "Backends", "How a guest is made: `backend = \"NAME\"`.");
    print_entries(CATALOG_PROBE, "Probes", "What measures: `probe = \"NAME\"`.");
    return 0;
}
