/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The catalog: what every backend, probe and workload takes and gives, as data.
 *
 * The same rows parse a plan, check it, document it (plans/REFERENCE.md) and check what an agent is
 * sent; nothing else in the project lists a plug-in's keys. One file an entry, gathered in
 * catalog.c; the operations live elsewhere (agent/guest, agent/probe, agent/workload), and a test
 * holds the two sets 1:1.
 */
#ifndef COMMON_CATALOG_H
#define COMMON_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum catalog_kind { CATALOG_BACKEND, CATALOG_PROBE, CATALOG_WORKLOAD };

enum key_type {
    KEY_TEXT,    /* any text without control characters; `most` bounds its bytes */
    KEY_NAME,    /* [a-z0-9][a-z0-9._-]*, at most 63 bytes */
    KEY_CHOICE,  /* one of `choices` */
    KEY_INTEGER, /* bounded by least and most */
    KEY_REAL,
    KEY_FLAG,
    KEY_SIZE,     /* bytes */
    KEY_DURATION, /* ns */
};

struct key_row {
    const char *name;
    enum key_type type;
    bool is_list;               /* `( )` is one value; `(( ), ( ))` makes it a factor */
    bool fixed;                 /* several values do not make it a factor, but are an error */
    bool host_memory;           /* KEY_SIZE: the guest may take this much of the host's memory */
    bool required;              /* else `fallback` holds */
    int64_t least, most;        /* inclusive; bytes, ns, integers or list items' text length */
    const char *const *choices; /* NULL-terminated, for KEY_CHOICE */
    const char *letters;  /* KEY_TEXT: the only bytes it may have, the first of them a letter or
                           * digit; NULL: any but control characters */
    const char *fallback; /* as a plan would write it; NULL: absent when not given */
    const char *help;     /* a sentence without its full stop */
};

enum metric_direction { METRIC_LOWER_IS_BETTER, METRIC_HIGHER_IS_BETTER, METRIC_NEITHER };

struct metric_row {
    const char *name;
    const char *unit; /* SI base unit, "1" for a count */
    enum metric_direction direction;
    const char *help;
};

struct catalog_entry {
    enum catalog_kind kind;
    const char *name; /* "lxc-app" */
    const char *help;
    const struct key_row *keys; /* ended by a row without a name */
    const struct metric_row *metrics;
    bool single;                 /* backends: one program, not a system with an init */
    bool needs_image;            /* backends */
    bool has_accelerator;        /* backends: cells are told apart by accelerator */
    const char *accelerator_key; /* backends: the key that may name the accelerator, or NULL */
    const char *ready_means;     /* backends: stored with each sample */
    /* backends: rough figures for `coordctl check`, from request to destroyed, on a machine of 2020
     */
    int64_t expected_ns, expected_tcg_ns;
    int64_t overhead_bytes; /* of the host's memory beside what host_memory keys say */
};

/* All entries in a fixed order, ended by NULL. */
const struct catalog_entry *const *catalog_entries(void);

/* NULL where there is none of that name. */
const struct catalog_entry *catalog_find(enum catalog_kind kind, const char *name);

/* Rows that are no plug-in's: the fixed sections of a plan. Each is ended by a row without a name.
 */
extern const struct key_row catalog_campaign_keys[];
extern const struct key_row catalog_image_keys[];
extern const struct key_row catalog_guest_keys[];      /* beside the backend's own */
extern const struct key_row catalog_workload_keys[];   /* beside the workload's own */
extern const struct key_row catalog_experiment_keys[]; /* beside the probe's own */
extern const struct key_row catalog_repeat_keys[];     /* the group that `repeat` may be */
extern const struct key_row catalog_design_keys[];
extern const struct key_row catalog_hosts_keys[];
extern const struct key_row catalog_reference_keys[]; /* beside the keys that name the cell */

/* Keys shared by several backends, to be named in their tables. */
#define CATALOG_KEY_CPUS                                                                           \
    {                                                                                              \
        .name = "cpus", .type = KEY_INTEGER, .least = 1, .most = 1, .fallback = "1",               \
        .help = "Processors; the guest is confined to one core of the host"                        \
    }
#define CATALOG_KEY_MEMORY(default_text)                                                           \
    {                                                                                              \
        .name = "memory", .type = KEY_SIZE, .host_memory = true, .least = INT64_C(4) << 20,        \
        .most = INT64_C(1) << 42, .fallback = default_text,                                        \
        .help = "Memory of a VM, memory limit of anything else"                                    \
    }
#define CATALOG_KEY_NETWORK                                                                        \
    {                                                                                              \
        .name = "network", .type = KEY_CHOICE, .choices = catalog_network_choices,                 \
        .fallback = "none",                                                                        \
        .help =                                                                                    \
            "A device on the agent's own bridge, which has no uplink and no addresses, or none"    \
    }
#define CATALOG_KEY_COMMAND                                                                        \
    {                                                                                              \
        .name = "command", .type = KEY_TEXT, .is_list = true, .least = 1, .most = 4096,            \
        .fallback = "(\"/bin/sleep\", \"infinity\")",                                              \
        .help = "The program, a path inside the image, and its arguments; nothing goes through a " \
                "shell"                                                                            \
    }
extern const char *const catalog_network_choices[];

#endif
