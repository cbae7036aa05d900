/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/doctor_keys.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/child.h"
#include "coordinator/ctl/client.h"
#include "coordinator/ctl/verb.h"
#include "proto/inquiry.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define AGENT_CONF "/etc/plimsoll/agent.conf"

static int complain(const struct err *e)
{
    printf("  %s\n", err_text(e));
    return EXIT_CHECK_FAILED;
}

static int ask_as_client(const struct client_target *t)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_pair own;
    char server_z85[KEY_Z85_BYTES];
    if (key_pair_load(t->key, &own, &e) < 0 || client_server_key(t->server_key, server_z85, &e) < 0)
        return complain(&e);
    struct inquiry inquiry = {t->endpoint, server_z85, &own, t->name};
    int failed = inquire(&inquiry, stdout, &e);
    sodium_memzero(&own, sizeof own);
    bool told = e.code == ERR_REFUSED || e.code == ERR_UNAVAILABLE;
    if (failed && !told)
        complain(&e);
    return failed ? EXIT_CHECK_FAILED : EXIT_GOOD;
}

static int check_client(void)
{
    static const struct client_options none = {0};
    cleanup_err struct err e = ERR_INIT;
    struct client_target target = {0};
    if (!client_is_configured(&none))
        return EXIT_GOOD;
    puts("\ncoordctl's key:");
    if (client_target_find(&none, &target, &e) < 0)
        return complain(&e);
    int code = ask_as_client(&target);
    client_target_clear(&target);
    return code;
}

static int check_agent(const char *conf)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *agent = NULL;
    cleanup_free char *said = NULL;
    puts("\nThe agent's key:");
    if (child_find("plimsoll-agent", &agent, &e) < 0)
        return complain(&e);
    char *argv[] = {agent, "--check-key", "--config", (char *)conf, NULL};
    int status = child_run(argv, NULL, CHILD_ERRORS_SHOWN, &said, &e);
    if (status < 0)
        return complain(&e);
    fputs(said, stdout);
    return status == 0 ? EXIT_GOOD : EXIT_CHECK_FAILED;
}

int doctor_keys(const char *agent_conf)
{
    int code = check_client();
    fflush(stdout);
    if (agent_conf || fs_exists(AGENT_CONF)) {
        int agent = check_agent(agent_conf ? agent_conf : AGENT_CONF);
        code = agent == EXIT_GOOD ? code : agent;
    }
    return code;
}
