/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl doctor: asks this host's agent program what it can run, tells it, and keeps it for
 * check. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/child.h"
#include "coordinator/ctl/doctor_keys.h"
#include "coordinator/ctl/findings.h"
#include "coordinator/ctl/options.h"
#include "coordinator/ctl/place.h"
#include "coordinator/report/table.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int run(int argc, char **argv);

extern const struct verb verb_doctor;
const struct verb verb_doctor = {
    .name = "doctor",
    .arguments = "[--json] [--keys] [--agent-conf FILE]",
    .summary = "Find out what this host can run and what it cannot, and why",
    .help =
        "  --json             print what was found as JSON, without the keys\n"
        "  --keys             look at the keys alone: does the coordinator let this host's in, "
        "and\n"
        "                     why not; exit code 1 when it does not\n"
        "  --agent-conf FILE  the configuration of this host's agent; default "
        "/etc/plimsoll/agent.conf\n"
        "The keys are coordctl's own (see `coordctl help hosts` for where it is looked up) and, on "
        "an\n"
        "agent's host, the agent's.\n"
        "It may boot a small VM, to see whether KVM really runs one (10 s at most). What it finds\n"
        "is kept in doctor.json of the state folder, where `coordctl check` reads it.\n",
    .run = run,
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_facts(const json_t *found)
{
    struct table *t = table_new("ll");
    size_t i;
    const json_t *fact;
    json_array_foreach(json_object_get(found, "facts"), i, fact)
    {
        table_add(t, "%s", text_of(fact, "key"));
        table_add(t, "%s", text_of(fact, "value"));
    }
    if (i > 0) {
        puts("\nThis host:");
        table_print(t, "  ", stdout);
    }
    table_free(&t);
}

static void print_found(const json_t *found)
{
    struct table *t = table_new("llll");
    table_add(t, "backend");
    table_add(t, "here");
    table_add(t, "accelerator");
    table_add(t, "why");
    size_t i;
    const json_t *b;
    json_array_foreach(json_object_get(found, "backends"), i, b)
    {
        bool available = json_is_true(json_object_get(b, "available"));
        const char *reason = text_of(b, "reason");
        table_add(t, "%s", text_of(b, "name"));
        table_add(t, available ? "yes" : "no");
        table_add(t, "%s", text_of(b, "accelerator"));
        table_add(t, "%s", *reason ? reason : text_of(b, "note"));
    }
    table_print(t, "", stdout);
    table_free(&t);
    print_facts(found);
}

static int ask_agent(char **ret_text, struct err *e)
{
    cleanup_free char *agent = NULL;
    if (child_find("plimsoll-agent", &agent, e) < 0)
        return -1;
    char *argv[] = {agent, "--doctor", NULL};
    char *text = NULL;
    int status = child_run(argv, NULL, CHILD_ERRORS_SHOWN, &text, e);
    if (status == 0) {
        *ret_text = text;
        return 0;
    }
    free(text);
    return status < 0
               ? -1
               : err_set(e, ERR_SYSTEM, "plimsoll-agent --doctor ended with status %d", status);
}

/* That it cannot be kept (no right to the folder) takes nothing from what was found. */
static void keep(const char *text)
{
    cleanup_free char *path = findings_path();
    cleanup_free char *folder = fs_path("%s", path);
    cleanup_err struct err e = ERR_INIT;
    *strrchr(folder, '/') = '\0';
    if (fs_make_dirs(folder, 0755, &e) < 0 ||
        fs_write_atomic(path, text, strlen(text), 0644, &e) < 0)
        fprintf(stderr, "coordctl doctor: `check` will not know of this: %s\n", err_text(&e));
}

static int examine(bool as_json)
{
    cleanup_free char *text = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (ask_agent(&text, &e) < 0) {
        fprintf(stderr, "coordctl doctor: %s\n", err_text(&e));
        return EXIT_CHECK_FAILED;
    }
    json_error_t wrong;
    json_t *found = json_loads(text, 0, &wrong);
    if (!json_is_array(json_object_get(found, "backends"))) {
        fprintf(stderr, "coordctl doctor: plimsoll-agent --doctor answered in an unknown form\n");
        json_decref(found);
        return EXIT_CHECK_FAILED;
    }
    keep(text);
    if (as_json)
        fputs(text, stdout);
    else
        print_found(found);
    json_decref(found);
    return EXIT_GOOD;
}

static int run(int argc, char **argv)
{
    bool as_json = false, keys_alone = false;
    const char *agent_conf = NULL;
    char **operands;
    const struct option_row rows[] = {{.name = "json", .flag = &as_json},
                                      {.name = "keys", .flag = &keys_alone},
                                      {.name = "agent-conf", .text = &agent_conf},
                                      {0}};
    if (options_parse(&verb_doctor, argc, argv, rows, 0, 0, &operands) < 0)
        return EXIT_USAGE;
    if (keys_alone && as_json)
        return options_complain(&verb_doctor, "--keys is not printed as JSON");
    if (keys_alone)
        return doctor_keys(agent_conf);
    int code = examine(as_json);
    if (code == EXIT_GOOD && !as_json)
        doctor_keys(agent_conf);
    return code;
}
