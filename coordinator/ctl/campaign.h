/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Campaigns for people, wherever they were read: from a coordinator, or from a local run's store.
 */
#ifndef COORDINATOR_CTL_CAMPAIGN_H
#define COORDINATOR_CTL_CAMPAIGN_H

#include "coordinator/ctl/client.h"
#include "coordinator/report/table.h"

#include <stdbool.h>

/* A table of campaigns with its head. */
struct table *campaign_table(void);
void campaign_add_row(struct table *t, const Plimsoll__Campaign *c);
/* Everything that is known of one. */
void campaign_print(const Plimsoll__Campaign *c);
/* What a campaign's end means as an exit code; EXIT_GOOD while it runs. */
int campaign_exit_code(const Plimsoll__Campaign *c);

/* Reads the newest `most` campaigns of a store (0: all). */
typedef void campaign_call(void *arg, const Plimsoll__Campaign *c);
int campaign_read_store(const char *store, unsigned most, campaign_call *call, void *arg,
                        struct err *e);

/* Whether a campaign is to be looked for in this host's runs: the id is known there and no
 * coordinator was named. *ret_store and *ret_campaign are the caller's to free then. Otherwise the
 * options say that it was looked for. */
bool campaign_is_local(struct client_options *o, const char *id, char **ret_store,
                       char **ret_campaign);

/* The command line of a verb that takes an id and says where the coordinator is. -1 after a
 * complaint. */
int campaign_parse(const struct verb *v, int argc, char **argv, struct client_options *o,
                   const char **ret_id);

/* Watches with a progress line until the end. EXIT_GOOD, or what to exit with. */
int campaign_follow(struct client_session *s, const char *id);

/* Asks for one campaign's state; NULL after an error was told and *ret_code set. */
Plimsoll__Envelope *campaign_ask(struct client_session *s, const char *id, int *ret_code);

#endif
