/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/report.h"

#include "coordinator/report/format.h"

#include <errno.h>
#include <string.h>

int report_format_parse(const char *word, enum report_format *ret, struct err *e)
{
    static const char *const words[] = {[REPORT_TEXT] = "text",
                                        [REPORT_HTML] = "html",
                                        [REPORT_CSV] = "csv",
                                        [REPORT_JSON] = "json"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) {
            *ret = (enum report_format)i;
            return 0;
        }
    return err_set(e, ERR_INPUT, "a report's format is text, html, csv or json, not `%s`", word);
}

/* A failed check is known for certain, whatever is missing; so it comes first. */
static struct report_verdict judge(const struct report_model *m)
{
    struct report_verdict v = {m->checks_failed, m->trials_missing, 0};
    /* That no host can run anything was announced, so nothing is missing. */
    bool nothing_to_do = m->trials == 0 && m->n_unavailable > 0;
    bool short_ended = report_has_ended(m) && strcmp(m->state, "done") != 0 && !nothing_to_do;
    if (v.checks_failed)
        v.exit_code = 1;
    else if (v.trials_missing || short_ended)
        v.exit_code = 4;
    return v;
}

static int write_form(const struct report_model *m, struct reader *r, enum report_format format,
                      const struct report_verdict *v, FILE *out, struct err *e)
{
    switch (format) {
    case REPORT_CSV:
        return report_csv(m, r, out, e);
    case REPORT_JSON:
        return report_json(m, r, v, out, e);
    case REPORT_HTML:
        report_html(m, out);
        return 0;
    default:
        report_text(m, out);
        return 0;
    }
}

static int write_report(struct reader *r, const char *campaign, enum report_format format,
                        FILE *out, struct report_verdict *ret, struct err *e)
{
    struct report_model *m = NULL;
    if (report_model_build(r, campaign, &m, e) < 0)
        return -1;
    struct report_verdict v = judge(m);
    int result = write_form(m, r, format, &v, out, e);
    report_model_free(&m);
    if (result == 0 && (fflush(out) != 0 || ferror(out)))
        result = err_system(e, errno, "cannot write the report");
    if (result == 0 && ret)
        *ret = v;
    return result;
}

int report_write(const char *store_path, const char *campaign, enum report_format format, FILE *out,
                 struct report_verdict *ret, struct err *e)
{
    struct reader *r = NULL;
    if (read_open(store_path, &r, e) < 0)
        return -1;
    int result = read_begin(r, e);
    if (result == 0) {
        result = write_report(r, campaign, format, out, ret, e);
        read_end(r);
    }
    read_close(&r);
    return result;
}
