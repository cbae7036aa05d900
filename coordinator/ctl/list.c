/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl list: campaigns, newest first. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/ctl/campaign.h"
#include "coordinator/ctl/place.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

extern const struct verb verb_list;
const struct verb verb_list = {
    .name = "list",
    .arguments = "[--most N]",
    .summary = "List campaigns, newest first: this host's runs, and a coordinator's",
    .help = "  --most N                at most so many (20)\n"
            "  --local                 this host's runs only\n" CLIENT_OPTION_HELP
            "Without a coordinator on the command line or in client.conf: this host's runs only.\n",
    .run = run,
};

static void add_row(void *arg, const Plimsoll__Campaign *c)
{
    campaign_add_row(arg, c);
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*b)->d_name, (*a)->d_name);
}

static int is_visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* A run's folder begins with its time, so names order them; one whose store cannot be read is
 * named. */
static void add_local_runs(struct table *t, unsigned most)
{
    cleanup_free char *runs = place_runs();
    struct dirent **entries = NULL;
    int n = scandir(runs, &entries, is_visible, newest_first);
    for (int i = 0; i < n; i++) {
        cleanup_free char *store = fs_path("%s/%s/store.db", runs, entries[i]->d_name);
        cleanup_err struct err e = ERR_INIT;
        if ((unsigned)i < most && fs_exists(store) &&
            campaign_read_store(store, 1, add_row, t, &e) < 0)
            fprintf(stderr, "coordctl list: %s\n", err_text(&e));
        free(entries[i]);
    }
    free(entries);
}

static int list_remote(const struct client_options *o, unsigned most)
{
    struct client_session s;
    int code = client_session_open(&s, &verb_list, o);
    if (code != EXIT_GOOD)
        return code;
    cleanup_err struct err e = ERR_INIT;
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__ListCampaigns list = PLIMSOLL__LIST_CAMPAIGNS__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    list.most = most;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_CAMPAIGNS;
    request.list_campaigns = &list;
    if (client_call(s.client, &request, PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS, &answer, &e) < 0) {
        code = client_session_fail(&s, &e);
    } else {
        struct table *t = campaign_table();
        for (size_t i = 0; i < answer->campaigns->n_campaigns; i++)
            campaign_add_row(t, answer->campaigns->campaigns[i]);
        puts("Of the coordinator:");
        table_print(t, "  ", stdout);
        table_free(&t);
    }
    client_session_close(&s);
    return code;
}

static int run(int argc, char **argv)
{
    bool local = false;
    const char *most_text = "20";
    unsigned long long most = 0;
    struct client_options o = {0};
    char **operands;
    const struct option_row rows[] = {
        {.name = "most", .text = &most_text},
        {.name = "local", .flag = &local},
        CLIENT_OPTION_ROWS(o),
        {0},
    };
    if (options_parse(&verb_list, argc, argv, rows, 0, 0, &operands) < 0 ||
        options_number(&verb_list, "--most", most_text, 1000, &most) < 0)
        return EXIT_USAGE;
    if (!o.endpoint) {
        struct table *t = campaign_table();
        add_local_runs(t, (unsigned)most);
        puts(table_rows(t) > 1 ? "Run on this host:" : "No campaign was run on this host.");
        table_print(t, "  ", stdout);
        table_free(&t);
    }
    return local || !client_is_configured(&o) ? EXIT_GOOD : list_remote(&o, (unsigned)most);
}
