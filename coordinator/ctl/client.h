/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * coordctl's connection to a coordinator: one request at a time, each waited for while the loop
 * turns, so that a verb reads as a straight line and its signals and children are still served.
 */
#ifndef COORDINATOR_CTL_CLIENT_H
#define COORDINATOR_CTL_CLIENT_H

#include "common/catalog/catalog.h"
#include "common/err.h"
#include "coordinator/ctl/options.h"
#include "proto/keys.h"
#include "proto/plimsoll.pb-c.h"

#include <stdint.h>
#include <uv.h>

/* Where the coordinator is and who we are. Texts are owned. */
struct client_target {
    char *endpoint;   /* "tcp://host:7462" */
    char *server_key; /* Z85, or the path of a file that holds it */
    char *key;        /* path of our own pair */
    char *name;       /* under which the coordinator knows our key */
};
/* The rows of client.conf. */
extern const struct key_row client_target_keys[];
void client_target_clear(struct client_target *t);

/* What the command line says; a verb that connects has these rows among its own. */
struct client_options {
    const char *endpoint, *server_key, *key, *name;
    const char *sought; /* a campaign that no run of this host has; NULL: none was looked for */
};
#define CLIENT_OPTION_ROWS(o)                                                                      \
    {.name = "coordinator", .text = &(o).endpoint},                                                \
        {.name = "server-key", .text = &(o).server_key}, {.name = "key", .text = &(o).key},        \
    {                                                                                              \
        .name = "name", .text = &(o).name                                                          \
    }
#define CLIENT_OPTION_HELP                                                                         \
    "  --coordinator ENDPOINT  where it listens for clients, as tcp://HOST:7462\n"                 \
    "  --server-key KEY        its public key, or a file that holds it\n"                          \
    "  --key FILE              our own key pair\n"                                                 \
    "  --name NAME             the name our key was allowed under (from the file's name)\n"        \
    "What is not given stands in client.conf, as coordinator, coordinator_key, key and name\n"     \
    "(name = \"value\", one a line): $PLIMSOLL_CLIENT_CONF, else "                                 \
    "~/.config/plimsoll/client.conf,\n"                                                            \
    "else /etc/plimsoll/client.conf.\n"

/* Options, else the configuration file. ERR_INPUT says what is lacking and where it was looked for.
 */
int client_target_find(const struct client_options *options, struct client_target *ret,
                       struct err *e);

/* A Z85 key as it stands, else the path of a file with one. */
int client_server_key(const char *text, char ret_z85[KEY_Z85_BYTES], struct err *e);

/* Whether a coordinator is named on the command line, or a client.conf is there, right or wrong. */
bool client_is_configured(const struct client_options *options);

struct client;

/* Begins to connect on the caller's loop. */
int client_start(uv_loop_t *loop, const struct client_target *target, struct client **ret,
                 struct err *e);
/* Waits for the welcome. ERR_TIMEOUT or ERR_REFUSED otherwise; the client is still to be closed. */
int client_wait(struct client *c, int64_t wait_ns, struct err *e);
/* Closes and turns the loop until nothing is left on it that keeps it going: what else is on it
 * must be unreferenced (uv_unref) or idle by then. NULL is fine. */
void client_close(struct client **c);

/* Sends and waits for the answer of `kind`, the caller's to free with client_answer_free. What the
 * coordinator answers otherwise is ERR_REFUSED with its words. `request`'s number is filled in. */
int client_call(struct client *c, Plimsoll__Envelope *request, Plimsoll__Envelope__KindCase kind,
                Plimsoll__Envelope **ret, struct err *e);
void client_answer_free(Plimsoll__Envelope **m);
#define cleanup_answer __attribute__((cleanup(client_answer_free)))

/* Called at each change of the campaign; a value other than 0 ends the watch. */
typedef int client_changed(void *arg, const Plimsoll__Campaign *campaign);
/* Watches until the callback ends it or the campaign has ended; watches again when the connection
 * was lost and came back. The callback may call client_tell, not client_call. */
int client_watch(struct client *c, const char *campaign, client_changed *changed, void *arg,
                 struct err *e);

/* Sends without waiting; what comes back is dropped. */
int client_tell(struct client *c, Plimsoll__Envelope *request, struct err *e);

/* From any callback on the loop: the wait that is under way, or the next one, fails with this. */
void client_interrupt(struct client *c, enum err_code code, const char *text);

/* Which of coordctl's codes the last failure means. */
int client_exit_code(const struct client *c, const struct err *e);

/* For the short verbs: options parsed by the caller, a loop of its own, opened; errors are told.
 * Returns EXIT_GOOD or what to exit with. */
struct client_session {
    uv_loop_t loop;
    struct client *client;
    const struct verb *verb;
    const char *sought; /* as in the options */
};
int client_session_open(struct client_session *s, const struct verb *v,
                        const struct client_options *options);
void client_session_close(struct client_session *s);
/* Tells the error on standard error, and that this host's runs were looked at too; returns what to
 * exit with. */
int client_session_fail(const struct client_session *s, const struct err *e);

#endif
