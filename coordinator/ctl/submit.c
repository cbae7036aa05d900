/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl submit: gives a plan to a coordinator. */
#include "common/cleanup.h"
#include "coordinator/ctl/campaign.h"
#include "coordinator/ctl/plan_file.h"

#include <stdio.h>

static int run(int argc, char **argv);

extern const struct verb verb_submit;
const struct verb verb_submit = {
    .name = "submit",
    .arguments = "PLAN | --resume ID",
    .summary = "Give a plan to a coordinator and print the campaign's id",
    .help = "  --wait                  stay until it has ended, with a progress line\n"
            "  --resume ID             run only what that campaign lacks\n"
            "  --keep-failed           leave failed guests up, for a look\n" CLIENT_OPTION_HELP,
    .run = run,
};

static int send_plan(struct client_session *s, Plimsoll__Submit *submit, bool wait)
{
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_SUBMIT;
    request.submit = submit;
    if (client_call(s->client, &request, PLIMSOLL__ENVELOPE__KIND_SUBMITTED, &answer, &e) < 0)
        return client_session_fail(s, &e);
    if (!*answer->submitted->campaign) {
        plan_file_tell(answer->submitted->diagnostics, answer->submitted->n_diagnostics);
        return EXIT_USAGE;
    }
    puts(answer->submitted->campaign);
    fflush(stdout);
    return wait ? campaign_follow(s, answer->submitted->campaign) : EXIT_GOOD;
}

static int connect_and_send(const struct client_options *o, Plimsoll__Submit *submit, bool wait)
{
    struct client_session s;
    int code = client_session_open(&s, &verb_submit, o);
    if (code != EXIT_GOOD)
        return code;
    code = send_plan(&s, submit, wait);
    client_session_close(&s);
    return code;
}

static int run(int argc, char **argv)
{
    bool wait = false, keep_failed = false;
    const char *resumed = NULL;
    struct client_options o = {0};
    char **operands;
    const struct option_row rows[] = {
        {.name = "wait", .flag = &wait},
        {.name = "keep-failed", .flag = &keep_failed},
        {.name = "resume", .text = &resumed},
        CLIENT_OPTION_ROWS(o),
        {0},
    };
    if (options_parse(&verb_submit, argc, argv, rows, 0, 1, &operands) < 0)
        return EXIT_USAGE;
    if (!resumed == !operands[0])
        return options_complain(&verb_submit, resumed ? "give a plan or --resume ID, not both"
                                                      : "a plan is missing");
    struct plan_file file = {0};
    Plimsoll__Submit submit = PLIMSOLL__SUBMIT__INIT;
    int code = resumed ? EXIT_GOOD : plan_file_read(operands[0], &file);
    if (code == EXIT_GOOD) {
        if (resumed)
            submit.resume = (char *)resumed;
        else
            plan_file_submit(&file, &submit);
        submit.keep_failed = keep_failed;
        code = connect_and_send(&o, &submit, wait);
    }
    plan_file_clear(&file);
    return code;
}
