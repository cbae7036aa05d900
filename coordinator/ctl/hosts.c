/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl hosts: the agents a coordinator knows. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "coordinator/ctl/campaign.h"
#include "coordinator/ctl/progress.h"

#include <stdio.h>
#include <string.h>

static int run(int argc, char **argv);

extern const struct verb verb_hosts;
const struct verb verb_hosts = {
    .name = "hosts",
    .arguments = "[NAME]",
    .summary = "List a coordinator's hosts, or tell every fact of one",
    .help = CLIENT_OPTION_HELP
    "Hosts of one group agree in every fact that must match: they are identical.\n",
    .run = run,
};

static void print_table(const Plimsoll__Hosts *hosts)
{
    struct table *t = table_new("llllll");
    static const char *const head[] = {"host", "state", "group", "software", "seen", "does"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_add(t, "%s", head[i]);
    for (size_t i = 0; i < hosts->n_hosts; i++) {
        const Plimsoll__Host *h = hosts->hosts[i];
        char seen[48];
        table_add(t, "%s", h->name);
        table_add(t, "%s", h->state);
        table_add(t, "%.12s", h->group);
        table_add(t, "%s", h->software);
        table_add(t, "%s ago", progress_duration((uint64_t)h->last_seen_ns, seen));
        table_add(t, "%s", h->activity ? h->activity->cell : "");
    }
    table_print(t, "", stdout);
    table_free(&t);
}

static int print_host(const Plimsoll__Hosts *hosts, const char *name)
{
    for (size_t i = 0; i < hosts->n_hosts; i++) {
        const Plimsoll__Host *h = hosts->hosts[i];
        if (strcmp(h->name, name) != 0)
            continue;
        struct table *t = table_new("lll");
        for (size_t k = 0; h->fingerprint && k < h->fingerprint->n_facts; k++) {
            const Plimsoll__Fact *f = h->fingerprint->facts[k];
            static const char *const tiers[] = {"", "should match", "must match"};
            table_add(t, "%s", f->key);
            table_add(t, "%s", f->value);
            table_add(t, "%s", f->tier <= PLIMSOLL__TIER__TIER_MUST_MATCH ? tiers[f->tier] : "");
        }
        printf("%s: %s, group %s, %s\n", h->name, h->state, h->group, h->software);
        table_print(t, "  ", stdout);
        table_free(&t);
        return EXIT_GOOD;
    }
    fprintf(stderr, "coordctl hosts: the coordinator knows no host `%s`\n", name);
    return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    struct client_options o = {0};
    struct client_session s;
    char **operands;
    const struct option_row rows[] = {CLIENT_OPTION_ROWS(o), {0}};
    if (options_parse(&verb_hosts, argc, argv, rows, 0, 1, &operands) < 0)
        return EXIT_USAGE;
    int code = client_session_open(&s, &verb_hosts, &o);
    if (code != EXIT_GOOD)
        return code;
    cleanup_err struct err e = ERR_INIT;
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__ListHosts list = PLIMSOLL__LIST_HOSTS__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS;
    request.list_hosts = &list;
    if (client_call(s.client, &request, PLIMSOLL__ENVELOPE__KIND_HOSTS, &answer, &e) < 0)
        code = client_session_fail(&s, &e);
    else if (operands[0])
        code = print_host(answer->hosts, operands[0]);
    else
        print_table(answer->hosts);
    client_session_close(&s);
    return code;
}
