/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rows of a plan's fixed sections: what belongs to no plug-in. */
#include "common/catalog/catalog.h"

static const char *const inits[] = {"systemd", "sysvinit", NULL};
static const char *const orders[] = {"random", "listed", NULL};
static const char *const uses[] = {"all", "any", NULL};

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

const struct key_row catalog_campaign_keys[] = {
    {.name = "name",
     .type = KEY_NAME,
     .help = "What the campaign is called in its id and in lists; the plan file's own name if not "
             "given"},
    {.name = "title", .type = KEY_TEXT, .most = 200, .fallback = "", .help = "A line for reports"},
    {0},
};

/*
 * Units that do nothing for a guest that is measured, or that wait for hardware it does not have:
 * what is masked is part of the image, so it is so in a container and in a VM alike. Under TCG this
 * is the difference between 20 s and 9 s to ready; udev's coldplug is the largest part.
 */
#define DEFAULT_MASK                                                                               \
    "(\"apt-daily.timer\", \"apt-daily-upgrade.timer\", \"dpkg-db-backup.timer\","                 \
    " \"e2scrub_all.timer\", \"e2scrub_reap.service\", \"fstrim.timer\", \"logrotate.timer\","     \
    " \"man-db.timer\", \"systemd-tmpfiles-clean.timer\","                                         \
    " \"console-getty.service\", \"container-getty@.service\", \"getty@.service\","                \
    " \"getty-static.service\", \"serial-getty@.service\","                                        \
    " \"systemd-logind.service\", \"systemd-user-sessions.service\","                              \
    " \"systemd-update-utmp.service\", \"systemd-update-utmp-runlevel.service\","                  \
    " \"modprobe@.service\", \"kmod-static-nodes.service\", \"systemd-modules-load.service\","     \
    " \"dev-hugepages.mount\", \"dev-mqueue.mount\", \"sys-fs-fuse-connections.mount\","           \
    " \"sys-kernel-config.mount\", \"sys-kernel-debug.mount\", \"sys-kernel-tracing.mount\","      \
    " \"proc-sys-fs-binfmt_misc.automount\", \"systemd-binfmt.service\","                          \
    " \"systemd-ask-password-console.path\", \"systemd-ask-password-wall.path\","                  \
    " \"systemd-pstore.service\", \"systemd-random-seed.service\","                                \
    " \"systemd-timesyncd.service\","                                                              \
    " \"systemd-udev-settle.service\", \"systemd-udev-trigger.service\","                          \
    " \"systemd-udevd.service\", \"systemd-udevd-control.socket\","                                \
    " \"systemd-udevd-kernel.socket\","                                                            \
    " \"systemd-fsck-root.service\", \"systemd-fsckd.socket\", \"systemd-remount-fs.service\","    \
    " \"systemd-sysctl.service\", \"systemd-tmpfiles-setup-dev.service\")"

const struct key_row catalog_image_keys[] = {
    {.name = "suite",
     .type = KEY_NAME,
     .fallback = "bookworm",
     .help = "The Debian suite it is made from, by the host's own mirror"},
    {.name = "init",
     .type = KEY_CHOICE,
     .choices = inits,
     .fallback = "systemd",
     .help = "The first process of full systems"},
    {.name = "disk",
     .type = KEY_SIZE,
     .least = INT64_C(1) << 30,
     .most = INT64_C(1) << 44,
     .fallback = "20GiB",
     .help = "The VM's disk as the guest sees it; sparse on the host"},
    {.name = "mask",
     .type = KEY_TEXT,
     .is_list = true,
     .least = 1,
     .most = 127,
     .letters = LETTERS "@._:\\-",
     .fallback = DEFAULT_MASK,
     .help = "Units of systemd that are masked in the root itself, so in containers and VMs alike; "
             "() is the distribution as it comes"},
    {.name = "packages",
     .type = KEY_TEXT,
     .is_list = true,
     .least = 2,
     .most = 127,
     .letters = "abcdefghijklmnopqrstuvwxyz0123456789+.-",
     .fallback = "()",
     .help = "Packages beside the base system"},
    {0},
};

const struct key_row catalog_guest_keys[] = {
    {.name = "backend",
     .fixed = true,
     .type = KEY_NAME,
     .required = true,
     .help = "How the guest is made: a backend's name"},
    {.name = "image",
     .type = KEY_NAME,
     .help = "An image section's name; the plan's only one if not given, and Debian as it comes if "
             "there "
             "is none"},
    {0},
};

const struct key_row catalog_workload_keys[] = {
    {.name = "run", .type = KEY_NAME, .required = true, .help = "A workload's name"},
    {0},
};

const struct key_row catalog_experiment_keys[] = {
    {.name = "probe",
     .fixed = true,
     .type = KEY_NAME,
     .fallback = "startup",
     .help = "What measures: a probe's name"},
    {.name = "guest", .type = KEY_NAME, .help = "Guest kinds; all of the plan's if not given"},
    {.name = "warmup",
     .fixed = true,
     .type = KEY_INTEGER,
     .least = 0,
     .most = 100,
     .fallback = "1",
     .help = "Trials of each cell on each host that are thrown away before the first that counts"},
    {.name = "repeat",
     .fixed = true,
     .type = KEY_INTEGER,
     .least = 1,
     .most = 100000,
     .fallback = "10",
     .help = "Trials of each cell on each host that count, a number or a group by accelerator; no "
             "factor"},
    {.name = "deadline",
     .fixed = true,
     .type = KEY_DURATION,
     .least = 1000000000,
     .most = INT64_C(86400000000000),
     .fallback = "3min",
     .help = "The longest a trial may take"},
    {0},
};

const struct key_row catalog_repeat_keys[] = {
    {.name = "default",
     .type = KEY_INTEGER,
     .least = 1,
     .most = 100000,
     .fallback = "10",
     .help = "Where no other key of the group holds"},
    {.name = "kvm", .type = KEY_INTEGER, .least = 1, .most = 100000, .help = "VMs under KVM"},
    {.name = "tcg", .type = KEY_INTEGER, .least = 1, .most = 100000, .help = "VMs under TCG"},
    {0},
};

const struct key_row catalog_design_keys[] = {
    {.name = "order",
     .type = KEY_CHOICE,
     .choices = orders,
     .fallback = "random",
     .help = "Trials in an order drawn from the seed, blocked by host, or as the plan lists them"},
    {.name = "seed",
     .type = KEY_INTEGER,
     .least = 0,
     .most = INT64_MAX,
     .fallback = "1",
     .help = "What the order is drawn from"},
    {.name = "confidence",
     .type = KEY_REAL,
     .least = 0,
     .most = 1,
     .fallback = "0.95",
     .help = "Of the intervals in reports; 0.5 to 0.9999"},
    {0},
};

const struct key_row catalog_hosts_keys[] = {
    {.name = "use",
     .type = KEY_CHOICE,
     .choices = uses,
     .fallback = "all",
     .help = "all: every host runs every cell; any: cells spread over identical hosts, each whole "
             "on one of them"},
    {0},
};

const struct key_row catalog_reference_keys[] = {
    {.name = "metric",
     .type = KEY_NAME,
     .required = true,
     .help = "One of the metrics of the experiment's probe"},
    {.name = "value",
     .type = KEY_TEXT,
     .required = true,
     .most = 64,
     .help = "The published mean, with its unit"},
    {.name = "within",
     .type = KEY_TEXT,
     .most = 16,
     .help = "A percentage, \"20%\": our mean must be this near, else the campaign's check fails"},
    {.name = "experiment",
     .type = KEY_NAME,
     .help = "An experiment's name, to tell its cells from others'"},
    {0},
};
