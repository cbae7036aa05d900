/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl report: of a local run from its store, else pulled from the coordinator piece by piece.
 */
#include "coordinator/report/report.h"

#include "common/cleanup.h"
#include "coordinator/ctl/campaign.h"
#include "coordinator/ctl/output.h"

#include <errno.h>
#include <stdio.h>

static int run(int argc, char **argv);

extern const struct verb verb_report;
const struct verb verb_report = {
    .name = "report",
    .arguments = "ID [--format text|html|csv|json]",
    .summary = "Write a campaign's report to standard output or a file",
    .help =
        "  --format FORMAT         text (default), html: with figures, csv: a line a\n"
        "                          sample, json: everything\n"
        "  -o, --output FILE       write it there; an older file is replaced once it is "
        "whole\n" CLIENT_OPTION_HELP
        "Exit code 1 where a published value was out of the range the plan allows, 4 where trials\n"
        "are missing.\n",
    .run = run,
};

/* ---- From a coordinator ---- */

static int ask(struct client *c, const char *campaign, const char *format, uint64_t blob,
               uint64_t offset, Plimsoll__Envelope **ret, struct err *e)
{
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Report report = PLIMSOLL__REPORT__INIT;
    Plimsoll__Slice slice = PLIMSOLL__SLICE__INIT;
    if (blob == 0) {
        report.campaign = (char *)campaign;
        report.format = (char *)format;
        request.kind_case = PLIMSOLL__ENVELOPE__KIND_REPORT;
        request.report = &report;
    } else {
        slice.blob = blob;
        slice.offset = offset;
        request.kind_case = PLIMSOLL__ENVELOPE__KIND_SLICE;
        request.slice = &slice;
    }
    return client_call(c, &request, PLIMSOLL__ENVELOPE__KIND_BLOB, ret, e);
}

static int pull(struct client *c, const char *campaign, const char *format, FILE *out,
                int *ret_code, struct err *e)
{
    uint64_t blob = 0, offset = 0;
    for (bool last = false; !last;) {
        cleanup_answer Plimsoll__Envelope *answer = NULL;
        if (ask(c, campaign, format, blob, offset, &answer, e) < 0)
            return -1;
        const Plimsoll__Blob *b = answer->blob;
        if (b->offset != offset || (b->data.len == 0 && !b->last))
            return err_set(e, ERR_PROTOCOL, "the coordinator sent another piece of the report");
        if (fwrite(b->data.data, 1, b->data.len, out) != b->data.len)
            return err_system(e, errno, "cannot write the report");
        blob = b->blob;
        offset += b->data.len;
        last = b->last;
        *ret_code = (int)b->exit_code;
    }
    return 0;
}

static int report_remote(const struct client_options *options, const char *id, const char *format,
                         struct output *o)
{
    struct client_session s;
    int code = client_session_open(&s, &verb_report, options);
    if (code != EXIT_GOOD) {
        output_close(o, false, NULL);
        return code;
    }
    cleanup_err struct err e = ERR_INIT;
    int result = pull(s.client, id, format, o->file, &code, &e);
    if (output_close(o, result == 0, result == 0 ? &e : NULL) < 0)
        result = -1;
    if (result < 0)
        code = client_session_fail(&s, &e);
    client_session_close(&s);
    return code;
}

/* ---- From a local store ---- */

static int complain(const struct err *e)
{
    fprintf(stderr, "coordctl report: %s\n", err_text(e));
    return EXIT_USAGE;
}

static int report_local(const char *store, const char *campaign, enum report_format format,
                        struct output *o)
{
    struct report_verdict verdict = {0};
    cleanup_err struct err e = ERR_INIT;
    int result = report_write(store, campaign, format, o->file, &verdict, &e);
    if (output_close(o, result == 0, result == 0 ? &e : NULL) < 0)
        result = -1;
    return result == 0 ? verdict.exit_code : complain(&e);
}

static int run(int argc, char **argv)
{
    const char *format_word = "text";
    const char *path = NULL;
    struct client_options o = {0};
    char **operands;
    enum report_format format;
    cleanup_err struct err e = ERR_INIT;
    const struct option_row rows[] = {
        {.name = "format", .letter = 'f', .text = &format_word},
        {.name = "output", .letter = 'o', .text = &path},
        CLIENT_OPTION_ROWS(o),
        {0},
    };
    if (options_parse(&verb_report, argc, argv, rows, 1, 1, &operands) < 0)
        return EXIT_USAGE;
    if (report_format_parse(format_word, &format, &e) < 0)
        return options_complain(&verb_report, "%s", err_text(&e));
    cleanup_free char *store = NULL;
    cleanup_free char *campaign = NULL;
    bool local = campaign_is_local(&o, operands[0], &store, &campaign);
    struct output output;
    /* Before anybody makes a report that could not be written. */
    if (output_open(&output, path, &e) < 0)
        return complain(&e);
    return local ? report_local(store, campaign, format, &output)
                 : report_remote(&o, operands[0], format_word, &output);
}
