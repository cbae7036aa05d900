// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guest/lxc-common.h"

#include "agent/guest/spawn.h"
#include "agent/guestd/client.h"
#include "agent/host/bridge.h"
#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/frame.h"
#include "proto/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ITEMS_MOST = 64, LINKS = 99999, LOG_MOST_BYTES = 1 << 20 };

/* All that a container may make or open, since root inside could make a node of the host's disk.
 * Numbers as in the kernel's Documentation/admin-guide/devices.txt. */
static const char *const devices[] = {
    "c 1:3 rwm",   /* null */
    "c 1:5 rwm",   /* zero */
    "c 1:7 rwm",   /* full */
    "c 1:8 rwm",   /* random */
    "c 1:9 rwm",   /* urandom */
    "c 5:0 rwm",   /* tty */
    "c 5:1 rwm",   /* console */
    "c 5:2 rwm",   /* ptmx */
    "c 136:* rwm", /* pts/N */
};

static const int64_t STOP_NS = 10 * NS_PER_S;
/* Looking up a container's first process. */
static const int64_t SCOPE_NS = 10 * NS_PER_S;
/* A monitor that was told to stop cleans up after its container: how long it may take. */
static const int64_t MONITOR_NS = 3 * NS_PER_S;

struct guest_state {
    struct guest_root root;
    Plimsoll__Factor items[ITEMS_MOST];
    Plimsoll__Factor *item_list[ITEMS_MOST];
    size_t n_items;
    char **argv;
    char *cgroup;
    char *monitor_cgroup;
    char *log_path;
    char *console_path;
    char link[IFNAMSIZ]; /* the host's end of its veth, "" without a network */
    bool created;        /* guestd knows it */
    int monitor; /* its pidfd: it ends with the container, or with the attempt to start it. -1: none
                  */
};

/* ---- Can it run here? ---- */

int lxc_check_host(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                   const struct image *image, int cancel_fd, struct guest_offer *ret, struct err *e)
{
    (void)stamper, (void)section, (void)image, (void)cancel_fd, (void)e;
    cleanup_free char *obstacle = root_obstacle(host);
    ret->available = true;
    if (host->guestd_path[0] == '\0')
        offer_refuse(ret,
                     "plimsoll-guestd, which calls liblxc, is not installed with this agent: it "
                     "is left out of builds without liblxc");
    else if (obstacle)
        offer_refuse(ret, "%s", obstacle);
    else if (cgroup_layout() == CGROUP_V1 && !cgroup_mount("devices"))
        offer_refuse(ret, "the cgroup controller devices is not mounted, without which a container "
                          "could open the host's disks");
    return 0;
}

/* ---- The definition ---- */

static void add_item(struct guest_state *s, const char *key, char *owned_value)
{
    if (s->n_items == ITEMS_MOST)
        abort();
    Plimsoll__Factor *item = &s->items[s->n_items];
    plimsoll__factor__init(item);
    item->key = fs_path("%s", key);
    item->value = owned_value;
    s->item_list[s->n_items++] = item;
}

static void add_text_item(struct guest_state *s, const char *key, const char *value)
{
    add_item(s, key, fs_path("%s", value));
}

static void add_cgroup_items(struct guest *g, struct guest_state *s)
{
    bool v2 = cgroup_layout() == CGROUP_V2;
    long long memory = settings_integer(g->section, "memory", 256 << 20);
    cleanup_free char *all = agent_cgroup(g->host);
    /* Where the monitor goes at its end: below the agent's own, not in the host's root. */
    add_text_item(s, "lxc.cgroup.dir.monitor.pivot", all);
    add_text_item(s, "lxc.cgroup.dir.container", s->cgroup);
    add_text_item(s, "lxc.cgroup.dir.monitor", s->monitor_cgroup);
    add_item(s, v2 ? "lxc.cgroup2.cpuset.cpus" : "lxc.cgroup.cpuset.cpus", fs_path("%d", g->cpu));
    add_item(s, v2 ? "lxc.cgroup2.memory.max" : "lxc.cgroup.memory.limit_in_bytes",
             fs_path("%lld", memory));
    /* v2 has no such controller: liblxc loads a BPF program that says the same. */
    add_text_item(s, v2 ? "lxc.cgroup2.devices.deny" : "lxc.cgroup.devices.deny", "a");
    for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
        add_text_item(s, v2 ? "lxc.cgroup2.devices.allow" : "lxc.cgroup.devices.allow", devices[i]);
}

/* "empty": a network namespace with a loopback device, while "none" would share the host's. */
static int add_network_items(struct guest *g, struct guest_state *s, struct err *e)
{
    const char *network = settings_text(g->section, "network");
    if (!network || strcmp(network, "bridge") != 0) {
        add_text_item(s, "lxc.net.0.type", "empty");
        return 0;
    }
    const char *bridge = NULL;
    if (host_bridge(g->host, &bridge, e) < 0)
        return -1;
    /* Index 0 is the bridge. */
    snprintf(s->link, sizeof(s->link), "pl%s%u", g->host->id, 1 + g->serial % LINKS);
    add_text_item(s, "lxc.net.0.type", "veth");
    add_text_item(s, "lxc.net.0.link", bridge);
    add_text_item(s, "lxc.net.0.veth.pair", s->link);
    add_text_item(s, "lxc.net.0.flags", "up");
    add_text_item(s, "lxc.net.0.name", "eth0");
    return 0;
}

static bool has_apparmor(void)
{
    cleanup_free char *text = NULL;
    return fs_read_kernel("/sys/module/apparmor/parameters/enabled", &text, NULL) == 0 &&
           text[0] == 'Y';
}

static int define(struct guest *g, struct guest_state *s, const struct lxc_kind *kind,
                  struct err *e)
{
    add_item(s, "lxc.rootfs.path", fs_path("dir:%s", s->root.path));
    add_text_item(s, "lxc.uts.name", g->section->name);
    add_text_item(s, "lxc.tty.max", "0");
    add_text_item(s, "lxc.pty.max", "0");
    if (kind->has_console)
        add_text_item(s, "lxc.console.logfile", s->console_path); /* by the monitor */
    else
        add_text_item(s, "lxc.console.path", "none");
    for (const struct lxc_item *item = kind->items; item->key; item++)
        add_text_item(s, item->key, item->value);
    /* Its profiles may not be loaded, and a guest that is confined by one is another guest. */
    if (has_apparmor())
        add_text_item(s, "lxc.apparmor.profile", "unconfined");
    add_cgroup_items(g, s);
    return add_network_items(g, s, e);
}

/* ---- Operations ---- */

static int need_guestd(struct host *host, struct err *e)
{
    if (host->guestd && guestd_alive(host->guestd))
        return 0;
    guestd_stop(&host->guestd);
    return guestd_start(host->guestd_path, host->id, &host->guestd, e);
}

/* liblxc gives a container in the background /dev/null for its output, so the runner takes this
 * file. */
static int make_console(const struct guest_state *s, struct err *e)
{
    int fd = open(s->console_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot make %s", s->console_path);
    close(fd);
    return 0;
}

int lxc_prepare(struct guest *g, const struct lxc_kind *kind, int64_t deadline_ns, int cancel_fd,
                struct err *e)
{
    struct guest_state *s = calloc(1, sizeof(*s));
    if (!s)
        return err_system(e, ENOMEM, "cannot prepare %s", g->name);
    g->state = s;
    s->monitor = -1;
    s->argv = kind->argv(g);
    s->cgroup = guest_cgroup(g);
    s->monitor_cgroup = fs_path("%s.monitor", s->cgroup);
    s->log_path = fs_path("%s/liblxc.log", g->folder);
    s->console_path =
        fs_path("%s/%s", g->folder, kind->has_console ? "console.log" : "channel/console");
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0 || agent_cgroup_make(g->host, e) < 0 ||
        root_prepare(g, &s->root, e) < 0 || define(g, s, kind, e) < 0 ||
        (!kind->has_console && make_console(s, e) < 0))
        return -1;
    return need_guestd(g->host, e);
}

static int call(struct guest *g, Plimsoll__GuestdRequest *request, int64_t deadline_ns,
                int cancel_fd, Plimsoll__GuestdReply **ret, struct err *e)
{
    if (!g->host->guestd)
        return err_set(e, ERR_SYSTEM, "plimsoll-guestd does not run");
    return guestd_call(g->host->guestd, request, deadline_ns, cancel_fd, ret, e);
}

int lxc_create(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    cleanup_free char *folder = fs_path("%s/guests", g->host->state_folder);
    Plimsoll__ContainerCreate create = PLIMSOLL__CONTAINER_CREATE__INIT;
    Plimsoll__GuestdRequest request = PLIMSOLL__GUESTD_REQUEST__INIT;
    create.name = g->name;
    create.folder = folder;
    create.log = s->log_path;
    create.n_items = s->n_items;
    create.items = s->item_list;
    request.kind_case = PLIMSOLL__GUESTD_REQUEST__KIND_CREATE;
    request.create = &create;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0)
        return -1;
    s->created = true;
    return call(g, &request, deadline_ns, cancel_fd, NULL, e);
}

int lxc_start(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    Plimsoll__ContainerStart start = PLIMSOLL__CONTAINER_START__INIT;
    Plimsoll__GuestdRequest request = PLIMSOLL__GUESTD_REQUEST__INIT;
    start.name = g->name;
    start.argv = s->argv;
    while (s->argv[start.n_argv])
        start.n_argv++;
    request.kind_case = PLIMSOLL__GUESTD_REQUEST__KIND_START;
    request.start = &start;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0)
        return -1;
    Plimsoll__GuestdReply *reply = NULL;
    if (call(g, &request, deadline_ns, cancel_fd, &reply, e) < 0)
        return -1;
    /* Refused when it has ended and was reaped, and then -1 says the right thing. */
    s->monitor = (int)syscall(SYS_pidfd_open, reply->pid, 0);
    frame_free(&reply->base);
    return 0;
}

/* The first ERROR of liblxc's log is what a person wants to read: "lxc NAME DATE ERROR MODULE -
 * FILE:FUNCTION:LINE - TEXT". NULL without one. */
static char *first_error(const char *log)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (fs_read(log, LOG_MOST_BYTES, &text, &length, NULL) < 0)
        return NULL;
    char *line = strstr(text, " ERROR ");
    char *place = line ? strstr(line, " - ") : NULL;
    char *words = place ? strstr(place + 3, " - ") : NULL;
    if (!words)
        return NULL;
    words += 3;
    words[strcspn(words, "\n")] = '\0';
    return fs_path("%s", words);
}

int lxc_wait_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (guest_wait_ready(g, g->state->monitor, deadline_ns, cancel_fd, e) == 0)
        return 0;
    cleanup_free char *words = first_error(g->state->log_path);
    return words ? err_prefix(e, "liblxc: %s", words) : -1;
}

int lxc_scope(struct guest *g, struct guest_scope *ret, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s || s->monitor < 0)
        return err_set(e, ERR_NOT_FOUND, "%s does not run", g->name);
    Plimsoll__ContainerFindInit find = PLIMSOLL__CONTAINER_FIND_INIT__INIT;
    Plimsoll__GuestdRequest request = PLIMSOLL__GUESTD_REQUEST__INIT;
    find.name = g->name;
    request.kind_case = PLIMSOLL__GUESTD_REQUEST__KIND_FIND_INIT;
    request.find_init = &find;
    Plimsoll__GuestdReply *reply = NULL;
    if (call(g, &request, clock_monotonic_ns() + SCOPE_NS, -1, &reply, e) < 0)
        return -1;
    *ret = (struct guest_scope){.cgroup = fs_path("%s", s->cgroup), .leader = reply->pid};
    frame_free(&reply->base);
    return 0;
}

/* What guestd could not do is done by force afterwards. */
static void ask_to_stop(struct guest *g, int64_t deadline_ns)
{
    Plimsoll__ContainerStop stop = PLIMSOLL__CONTAINER_STOP__INIT;
    Plimsoll__GuestdRequest request = PLIMSOLL__GUESTD_REQUEST__INIT;
    stop.name = g->name;
    request.kind_case = PLIMSOLL__GUESTD_REQUEST__KIND_STOP;
    request.stop = &stop;
    call(g, &request, deadline_ns, -1, NULL, NULL);
}

static void ask_to_forget(struct guest *g, int64_t deadline_ns)
{
    Plimsoll__ContainerDestroy destroy = PLIMSOLL__CONTAINER_DESTROY__INIT;
    Plimsoll__GuestdRequest request = PLIMSOLL__GUESTD_REQUEST__INIT;
    destroy.name = g->name;
    request.kind_case = PLIMSOLL__GUESTD_REQUEST__KIND_DESTROY;
    request.destroy = &destroy;
    call(g, &request, deadline_ns, -1, NULL, NULL);
}

/* By force, in the direction in which processes move: guestd's forks (only if it died; a living one
 * finishes a start before it answers), the monitor, the container. */
static int end_by_force(struct guest *g, struct guest_state *s, int64_t deadline_ns, struct err *e)
{
    if (!g->host->guestd || !guestd_alive(g->host->guestd))
        guestd_kill_family(g->host->id);
    if (cgroup_kill(s->monitor_cgroup, deadline_ns, e) < 0)
        return -1;
    return cgroup_kill(s->cgroup, deadline_ns, e);
}

int lxc_stop(struct guest *g, int64_t deadline_ns, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s || !s->created)
        return 0;
    ask_to_stop(g, deadline_ns);
    if (s->monitor >= 0) {
        struct pollfd p = {.fd = s->monitor, .events = POLLIN};
        int64_t until_ns = clock_monotonic_ns() + MONITOR_NS;
        poll(&p, 1, clock_poll_ms(deadline_ns && deadline_ns < until_ns ? deadline_ns : until_ns));
    }
    return end_by_force(g, s, deadline_ns, e);
}

static void state_free(struct guest_state *s)
{
    for (size_t i = 0; i < s->n_items; i++) {
        free(s->items[i].key);
        free(s->items[i].value);
    }
    single_command_free(&s->argv);
    if (s->monitor >= 0)
        close(s->monitor);
    free(s->cgroup);
    free(s->monitor_cgroup);
    free(s->log_path);
    free(s->console_path);
    free(s);
}

static void keep_first(struct err *first, struct err *next)
{
    if (first->code == ERR_NONE)
        err_move(first, next);
    err_clear(next);
}

int lxc_destroy(struct guest *g, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s)
        return 0;
    struct err first = ERR_INIT;
    struct err next = ERR_INIT;
    int64_t deadline_ns = clock_monotonic_ns() + STOP_NS;
    lxc_stop(g, deadline_ns, &first);
    if (s->created)
        ask_to_forget(g, deadline_ns);
    if (cgroup_remove(s->monitor_cgroup, &next) < 0)
        keep_first(&first, &next);
    if (cgroup_remove(s->cgroup, &next) < 0)
        keep_first(&first, &next);
    if (s->link[0] && link_remove(s->link, &next) < 0)
        keep_first(&first, &next);
    channel_free(&g->channel);
    if (root_release(g, &s->root, &next) < 0)
        keep_first(&first, &next);
    if (first.code != ERR_NONE)
        return err_move(e, &first);
    state_free(s);
    g->state = NULL;
    return 0;
}

static void add_definition(const struct guest_state *s, struct guest_texts *to)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return;
    for (size_t i = 0; i < s->n_items; i++)
        fprintf(out, "%s = %s\n", s->items[i].key, s->items[i].value);
    for (char **argument = s->argv; *argument; argument++)
        fprintf(out, "# argument: %s\n", *argument);
    fclose(out);
    guest_add_text(to, "lxc.conf", text, length);
}

void lxc_texts(struct guest *g, struct guest_texts *to)
{
    if (!g->state)
        return;
    add_definition(g->state, to);
    guest_add_file(to, "console", g->state->console_path);
    guest_add_file(to, "liblxc", g->state->log_path);
}

/* A veth ends with its container's network namespace, but the kernel takes its time over that. */
static int sweep_links(const struct host *host, unsigned *removed, struct err *e)
{
    cleanup_free char *prefix = fs_path("pl%s", host->id);
    cleanup_free char *bridge = fs_path("pl%s0", host->id);
    struct if_nameindex *links = if_nameindex();
    int result = 0;
    for (struct if_nameindex *link = links; link && link->if_index; link++) {
        if (strncmp(link->if_name, prefix, strlen(prefix)) != 0 ||
            strcmp(link->if_name, bridge) == 0)
            continue;
        if (link_remove(link->if_name, result < 0 ? NULL : e) < 0)
            result = -1;
        else
            (*removed)++;
    }
    if_freenameindex(links);
    return result;
}

/* liblxc's lock files: /run/lxc/lock/FOLDER, upwards as long as nobody else uses them; one may be
 * half removed. */
static void sweep_locks(const struct host *host)
{
    cleanup_free char *folder = fs_path("/run/lxc/lock%s/guests", host->state_folder);
    while (strlen(folder) >= strlen("/run/lxc") && (rmdir(folder) == 0 || errno == ENOENT))
        *strrchr(folder, '/') = '\0';
}

int lxc_sweep(struct host *host, unsigned *removed, struct err *e)
{
    struct err first = ERR_INIT;
    struct err next = ERR_INIT;
    agent_cgroup_sweep(host, removed, &first);
    if (sweep_links(host, removed, &next) < 0)
        keep_first(&first, &next);
    sweep_locks(host);
    return err_move(e, &first);
}
