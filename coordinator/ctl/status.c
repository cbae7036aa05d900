/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl status: one campaign as it stands. */
#include "common/cleanup.h"
#include "coordinator/ctl/campaign.h"

#include <stdio.h>

static int run_status(int argc, char **argv);

extern const struct verb verb_status;
const struct verb verb_status = {
    .name = "status",
    .arguments = "ID",
    .summary = "Tell how far a campaign is, what runs where, and what is missing",
    .help = CLIENT_OPTION_HELP "Exit code 4 where it ended with trials missing.\n",
    .run = run_status,
};

static void print_local(void *arg, const Plimsoll__Campaign *c)
{
    campaign_print(c);
    *(int *)arg = campaign_exit_code(c);
}

static int status_of_store(const char *store)
{
    int code = EXIT_GOOD;
    cleanup_err struct err e = ERR_INIT;
    if (campaign_read_store(store, 1, print_local, &code, &e) == 0)
        return code;
    fprintf(stderr, "coordctl status: %s\n", err_text(&e));
    return EXIT_USAGE;
}

static int run_status(int argc, char **argv)
{
    struct client_options o = {0};
    const char *id;
    cleanup_free char *store = NULL;
    cleanup_free char *campaign = NULL;
    if (campaign_parse(&verb_status, argc, argv, &o, &id) < 0)
        return EXIT_USAGE;
    if (campaign_is_local(&o, id, &store, &campaign))
        return status_of_store(store);
    struct client_session s;
    int code = client_session_open(&s, &verb_status, &o);
    if (code != EXIT_GOOD)
        return code;
    cleanup_answer Plimsoll__Envelope *answer = campaign_ask(&s, id, &code);
    if (answer) {
        campaign_print(answer->campaigns->campaigns[0]);
        code = campaign_exit_code(answer->campaigns->campaigns[0]);
    }
    client_session_close(&s);
    return code;
}
