/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl cancel. */
#include "coordinator/ctl/campaign.h"

static int run_cancel(int argc, char **argv);

extern const struct verb verb_cancel;
const struct verb verb_cancel = {
    .name = "cancel",
    .arguments = "ID",
    .summary = "End a campaign; its hosts are cleaned and what was measured is kept",
    .help = CLIENT_OPTION_HELP,
    .run = run_cancel,
};

static int run_cancel(int argc, char **argv)
{
    struct client_options o = {0};
    struct client_session s;
    const char *id;
    if (campaign_parse(&verb_cancel, argc, argv, &o, &id) < 0)
        return EXIT_USAGE;
    int code = client_session_open(&s, &verb_cancel, &o);
    if (code != EXIT_GOOD)
        return code;
    cleanup_err struct err e = ERR_INIT;
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__CancelCampaign cancel = PLIMSOLL__CANCEL_CAMPAIGN__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    cancel.campaign = (char *)id;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN;
    request.cancel_campaign = &cancel;
    if (client_call(s.client, &request, PLIMSOLL__ENVELOPE__KIND_DONE, &answer, &e) < 0)
        code = client_session_fail(&s, &e);
    client_session_close(&s);
    return code;
}
