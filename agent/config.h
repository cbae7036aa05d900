/* SPDX-License-Identifier: GPL-3.0-or-later */
/* agent.conf: see HACKING.md for its keys. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include "agent/host/host.h"
#include "common/catalog/catalog.h"
#include "common/err.h"
#include "proto/keys.h"

/* The rows of agent.conf. */
extern const struct key_row agent_config_keys[];

struct agent_config {
    char *name;
    char *endpoint;
    char server_z85[KEY_Z85_BYTES];
    struct key_pair key;
    char *key_path;
};

/* Reads the file and the keys it names into `ret`, and what concerns the host into `host`, whose
 * other members are left. Everything wrong is ERR_INPUT with file and line where there is one. */
int agent_config_load(const char *path, struct agent_config *ret, struct host *host, struct err *e);
/* As above without the keys and the coordinator: what --doctor and --clean need. */
int agent_config_load_host(const char *path, struct host *host, struct err *e);
void agent_config_clear(struct agent_config *c);

#endif
