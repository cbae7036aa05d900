/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A virtual machine of QEMU, launched by libvirt. Timed are libvirt's and QEMU's work from the
 * domain's XML on; the disk overlay, the initrd and the bridge are there before, as they would be
 * for an operator.
 */
#include "agent/guest/backends.h"
#include "agent/guest/common.h"
#include "agent/guest/kvm-accel.h"
#include "agent/guest/kvm-connection.h"
#include "agent/guest/kvm-domain.h"
#include "agent/guest/kvm-initrd.h"
#include "agent/host/bridge.h"
#include "common/catalog/entries.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/settings.h"

#include <errno.h>
#include <glob.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

/* "pl" + 8 + 5 digits is what a device's name holds; the number 0 is the bridge's. */
enum { LINKS = 99999 };

struct guest_state {
    virConnectPtr connection; /* borrowed */
    virDomainPtr domain;
    char *initrd;
    char *overlay;
    char *channel_path;
    char *early_path;
    char *console_path;
    char *link;   /* NULL without a network */
    char *xml;    /* as sent */
    char *as_run; /* as libvirt says it runs; NULL until known */
};

/* ---- check_host ---- */

/* NULL when all parts are there. */
static const char *image_lack(const struct image *image)
{
    if (!image->kernel || !image->initrd)
        return "the image was built without a kernel";
    return image->disk ? NULL : "the image was built without a disk";
}

static int kvm_check_host(struct host *host, struct stamper *stamper,
                          const Plimsoll__Section *section, const struct image *image,
                          int cancel_fd, struct guest_offer *ret, struct err *e)
{
    struct guest_offer o = {0};
    virConnectPtr c = NULL;
    cleanup_err struct err why = ERR_INIT;
    const char *lack = image_lack(image);
    if (lack)
        offer_refuse(&o, "%s", lack);
    else if (access("/usr/bin/qemu-img", X_OK) < 0)
        offer_refuse(&o, "qemu-img is not installed (Debian's package qemu-utils)");
    else if (kvm_connect(host, &c, &why) < 0)
        offer_refuse(&o, "%s", err_text(&why));
    else if (kvm_accelerator(host, stamper, section, image, c, cancel_fd, &o, e) < 0) {
        guest_offer_clear(&o);
        return -1;
    }
    *ret = o;
    return 0;
}

/* ---- prepare ---- */

/* 35 ms of a child process, untimed: libvirt's own storage driver would want a pool. */
static int overlay_make(const char *backing, const char *overlay, struct err *e)
{
    char *argv[] = {(char *)"qemu-img", (char *)"create", (char *)"-q",  (char *)"-f",
                    (char *)"qcow2",    (char *)"-F",     (char *)"raw", (char *)"-b",
                    (char *)backing,    (char *)overlay,  NULL};
    pid_t pid;
    int status;
    int errnum = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
    if (errnum)
        return err_system(e, errnum, "could not run qemu-img");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_system(e, errno, "could not wait for qemu-img");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(e, ERR_SYSTEM, "qemu-img could not make the overlay %s on %s", overlay,
                       backing);
    return 0;
}

static int network_prepare(struct guest *g, struct guest_state *s, struct kvm_domain *d,
                           struct err *e)
{
    const char *network = settings_text(g->section, "network");
    if (!network || strcmp(network, "bridge") != 0)
        return 0;
    if (host_bridge(g->host, &d->bridge, e) < 0)
        return -1;
    s->link = fs_path("pl%s%u", g->host->id, 1 + g->serial % LINKS);
    d->link = s->link;
    return 0;
}

/* Short, because a socket's address is: QEMU takes no descriptor for it through libvirt. */
static void paths_set(const struct guest *g, struct guest_state *s)
{
    s->overlay = fs_path("%s/overlay.qcow2", g->folder);
    s->console_path = fs_path("%s/console.log", g->folder);
    s->channel_path = fs_path("%s/%s.sock", g->host->run_folder, g->name);
    s->early_path = fs_path("%s/%s-early.sock", g->host->run_folder, g->name);
}

static int kvm_prepare(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "a VM");
    const char *lack = image_lack(g->image);
    if (lack)
        return err_set(e, ERR_UNAVAILABLE, "%s", lack);
    paths_set(g, s);
    struct kvm_domain d = {.name = g->name,
                           .agent_id = g->host->id,
                           .kvm = strncmp(g->accelerator, "kvm", 3) == 0,
                           .cpu = g->cpu,
                           .kernel = g->image->kernel,
                           .command_line = "root=/dev/vda rw console=ttyS0 quiet panic=-1",
                           .overlay = s->overlay,
                           .backing = g->image->disk,
                           .channel_path = s->channel_path,
                           .early_path = s->early_path,
                           .console_path = s->console_path};
    kvm_domain_from_section(&d, g->section);
    if (kvm_connect(g->host, &s->connection, e) < 0 ||
        kvm_initrd(g->host, g->image, &s->initrd, e) < 0 ||
        fs_make_dirs(g->host->run_folder, 0755, e) < 0 ||
        overlay_make(g->image->disk, s->overlay, e) < 0 || network_prepare(g, s, &d, e) < 0 ||
        channel_new(g->stamper, &g->channel, e) < 0)
        return -1;
    d.initrd = s->initrd;
    s->xml = kvm_domain_xml(&d);
    return guest_may_go_on(deadline_ns, cancel_fd, e);
}

/* ---- The timed part ---- */

static int kvm_create(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0 ||
        kvm_launch(s->connection, s->xml, &s->domain, e) < 0)
        return -1;
    channel_stamp(g->channel, STAMP_CREATED, clock_monotonic_ns());
    if (channel_connect(g->channel, s->early_path, e) < 0)
        return -1;
    return channel_connect(g->channel, s->channel_path, e);
}

static int kvm_start(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0)
        return -1;
    if (virDomainResume(s->domain) < 0)
        return kvm_fail(e, "libvirt could not start the VM");
    channel_stamp(g->channel, STAMP_STARTED, clock_monotonic_ns());
    return 0;
}

/* As libvirt runs it: devices, addresses and defaults that we did not write down. */
static void as_run_keep(struct guest_state *s)
{
    if (!s->as_run && s->domain)
        s->as_run = virDomainGetXMLDesc(s->domain, 0);
}

/* A VM that ended closes its channel; libvirt knows in which way. */
static int kvm_wait_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    cleanup_err struct err waiting = ERR_INIT;
    int result = channel_wait(g->channel, STAMP_READY, deadline_ns, cancel_fd, &waiting);
    as_run_keep(s);
    if (result == 0)
        return 0;
    if (waiting.code == ERR_PROTOCOL && virDomainIsActive(s->domain) != 1)
        return err_set(e, ERR_SYSTEM, "the VM ended before it was ready: %s", err_text(&waiting));
    return err_move(e, &waiting);
}

/* ---- scope ---- */

/* libvirt keeps QEMU's own threads and the vCPUs in groups below the VM's. */
static void cut_below_vm(char *cgroup)
{
    static const char *const below[] = {"/libvirt", "/emulator", "/vcpu"};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char *at = strstr(cgroup, below[i]);
        if (at)
            *at = '\0';
    }
}

/* The path in the hierarchy that counts CPU time: a line "N:cpu,cpuacct:/PATH" or, in v2,
 * "0::/PATH". */
static char *cgroup_of(pid_t pid)
{
    cleanup_free char *path = fs_path("/proc/%d/cgroup", (int)pid);
    cleanup_free char *text = NULL;
    char *found = NULL;
    if (fs_read_kernel(path, &text, NULL) < 0)
        return NULL;
    for (char *at = text, *line; (line = strsep(&at, "\n"));) {
        strsep(&line, ":");
        const char *controllers = line ? strsep(&line, ":") : NULL;
        if (!line || line[0] != '/' || line[1] == '\0')
            continue;
        if (strstr(controllers, "cpuacct") || (controllers[0] == '\0' && !found)) {
            free(found);
            found = fs_path("%s", line + 1);
        }
    }
    if (found)
        cut_below_vm(found);
    return found;
}

static int kvm_scope(struct guest *g, struct guest_scope *ret, struct err *e)
{
    pid_t pid;
    if (kvm_pid(g->name, &pid, e) < 0)
        return -1;
    *ret = (struct guest_scope){.cgroup = cgroup_of(pid), .leader = pid};
    return 0;
}

/* ---- The end ---- */

static int kvm_stop(struct guest *g, int64_t deadline_ns, struct err *e)
{
    (void)deadline_ns; /* libvirt has its own: it kills what does not end */
    struct guest_state *s = g->state;
    if (!s || !s->domain)
        return 0;
    as_run_keep(s);
    if (virDomainIsActive(s->domain) == 1 && virDomainDestroy(s->domain) < 0 &&
        virDomainIsActive(s->domain) == 1)
        return kvm_fail(e, "libvirt could not end the VM");
    return 0;
}

static void state_free(struct guest_state *s)
{
    free(s->initrd);
    free(s->overlay);
    free(s->channel_path);
    free(s->early_path);
    free(s->console_path);
    free(s->link);
    free(s->xml);
    free(s->as_run);
    free(s);
}

static int kvm_destroy(struct guest *g, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s)
        return 0;
    cleanup_err struct err first = ERR_INIT;
    if (kvm_end(&s->domain, &first) < 0)
        return err_move(e, &first); /* the state stays, for another try */
    kvm_forget(g->name);
    if (s->link)
        link_remove(s->link, &first); /* libvirt did, unless it was killed in between */
    if (s->channel_path) {
        unlink(s->channel_path);
        unlink(s->early_path);
    }
    if (s->overlay)
        unlink(s->overlay);
    state_free(steal(g->state));
    return err_move(e, &first);
}

static void kvm_texts(struct guest *g, struct guest_texts *to)
{
    const struct guest_state *s = g->state;
    if (!s)
        return;
    const char *xml = s->as_run ? s->as_run : s->xml;
    cleanup_free char *log = kvm_log_path(g->name);
    if (xml)
        guest_add_text(to, "domain.xml", xml, strlen(xml));
    if (s->console_path)
        guest_add_file(to, "console", s->console_path);
    guest_add_file(to, "qemu", log);
}

/* Files of VMs that are gone; their names hold the agent's id, and all its VMs are gone. */
static void files_sweep(char *pattern_owned)
{
    cleanup_free char *pattern = pattern_owned;
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
}

static int kvm_sweep_host(struct host *host, unsigned *removed, struct err *e)
{
    if (kvm_sweep(host, removed, e) < 0)
        return -1;
    files_sweep(fs_path("%s/pl%s-*.sock", host->run_folder, host->id));
    cleanup_free char *ours = fs_path("pl%s-*", host->id);
    files_sweep(kvm_log_path(ours));
    return 0;
}

const struct guest_ops guest_kvm_ops = {
    .catalog = &catalog_kvm,
    .check_host = kvm_check_host,
    .prepare = kvm_prepare,
    .create = kvm_create,
    .start = kvm_start,
    .wait_ready = kvm_wait_ready,
    .scope = kvm_scope,
    .stop = kvm_stop,
    .destroy = kvm_destroy,
    .texts = kvm_texts,
    .sweep = kvm_sweep_host,
};
