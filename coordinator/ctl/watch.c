/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl watch: a progress line until the end. */
#include "coordinator/ctl/campaign.h"

static int run_watch(int argc, char **argv);

extern const struct verb verb_watch;
const struct verb verb_watch = {
    .name = "watch",
    .arguments = "ID",
    .summary = "Follow a campaign with a progress line until it has ended",
    .help = CLIENT_OPTION_HELP
    "Ctrl-C ends the watching, not the campaign. Exit code 4 where it ended with trials missing.\n",
    .run = run_watch,
};

static int run_watch(int argc, char **argv)
{
    struct client_options o = {0};
    struct client_session s;
    const char *id;
    if (campaign_parse(&verb_watch, argc, argv, &o, &id) < 0)
        return EXIT_USAGE;
    int code = client_session_open(&s, &verb_watch, &o);
    if (code != EXIT_GOOD)
        return code;
    code = campaign_follow(&s, id);
    client_session_close(&s);
    return code;
}
