/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/guest/kvm-connection.h"

#include "agent/guest/kvm-domain.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <errno.h>
#include <glob.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum { KEEP_ALIVE_INTERVAL_S = 5, KEEP_ALIVE_COUNT = 6 };

/* libvirt's event loop is one a process, and so is this. Trial thread only, but for the event
 * thread. */
static struct {
    virConnectPtr connection;
    char *uri;
    pid_t owner;      /* the process that opened the connection */
    pid_t loop_owner; /* the process that has the event thread; 0: none yet */
} state;

static void say_nothing(void *arg, virErrorPtr error)
{
    (void)arg;
    (void)error; /* each failure is reported by who made the call */
}

static void *event_main(void *arg)
{
    (void)arg;
    pthread_setname_np(pthread_self(), "libvirt");
    while (virEventRunDefaultImpl() == 0)
        ;
    log_error("libvirt's event loop ended: %s", virGetLastErrorMessage());
    return NULL;
}

/* The event implementation must be registered before the first connection. */
static int loop_start(struct err *e)
{
    if (state.loop_owner)
        return 0;
    virSetErrorFunc(NULL, say_nothing);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
        return kvm_fail(e, "libvirt does not start");
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(&thread, NULL, event_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum)
        return err_system(e, errnum, "libvirt's event thread");
    pthread_detach(thread); /* it ends with the process */
    state.loop_owner = getpid();
    return 0;
}

static void disconnect(void)
{
    if (state.connection)
        virConnectClose(steal(state.connection));
    free(steal(state.uri));
}

/* A forked process has the parent's socket but not its threads: used from both, each would read the
 * other's answers. It leaves the connection alone, since closing it would speak on that socket too,
 * and gets one of its own, without an event thread: the inherited loop holds the parent's
 * descriptors. */
static void forget_parents(void)
{
    if (state.owner == 0 || state.owner == getpid())
        return;
    state.connection = NULL;
    free(steal(state.uri));
}

int kvm_connect(const struct host *host, virConnectPtr *ret, struct err *e)
{
    forget_parents();
    const char *uri = host->libvirt_uri ? host->libvirt_uri : "qemu:///system";
    bool good =
        state.connection && strcmp(state.uri, uri) == 0 && virConnectIsAlive(state.connection) == 1;
    if (!good) {
        disconnect();
        if (loop_start(e) < 0)
            return -1;
        virConnectPtr c = virConnectOpen(uri);
        if (!c)
            return err_set(e, ERR_UNAVAILABLE, "libvirt does not answer at %s: %s", uri,
                           virGetLastErrorMessage());
        if (state.loop_owner == getpid() &&
            virConnectSetKeepAlive(c, KEEP_ALIVE_INTERVAL_S, KEEP_ALIVE_COUNT) < 0)
            log_warning("libvirt without keep-alive: %s", virGetLastErrorMessage());
        state.connection = c;
        state.uri = fs_path("%s", uri);
        state.owner = getpid();
    }
    *ret = state.connection;
    return 0;
}

int kvm_fail(struct err *e, const char *format, ...)
{
    cleanup_free char *said = fs_path("%s", virGetLastErrorMessage());
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return err_set(e, ERR_SYSTEM, "%s: %s", text, said);
}

int kvm_launch(virConnectPtr c, const char *xml, virDomainPtr *ret, struct err *e)
{
    virDomainPtr domain = virDomainCreateXML(c, xml, VIR_DOMAIN_START_PAUSED);
    if (!domain)
        return kvm_fail(e, "libvirt could not create the VM");
    *ret = domain;
    return 0;
}

char *kvm_log_path(const char *name)
{
    return fs_path("/var/log/libvirt/qemu/%s.log", name);
}

void kvm_forget(const char *name)
{
    cleanup_free char *log = kvm_log_path(name);
    unlink(log);
}

int kvm_pid(const char *name, pid_t *ret, struct err *e)
{
    cleanup_free char *path = fs_path("/run/libvirt/qemu/%s.pid", name);
    cleanup_free char *text = NULL;
    if (fs_read_kernel(path, &text, e) < 0)
        return err_prefix(e, "QEMU's process id");
    char *end;
    long pid = strtol(text, &end, 10);
    if (end == text || pid <= 1)
        return err_set(e, ERR_SYSTEM, "%s: expected a process id, found `%s`", path, text);
    *ret = (pid_t)pid;
    return 0;
}

static int is_gone(void)
{
    const virError *last = virGetLastError();
    return last && last->code == VIR_ERR_NO_DOMAIN;
}

int kvm_end(virDomainPtr *domain, struct err *e)
{
    if (!*domain)
        return 0;
    virDomainPtr gone = *domain;
    int result = 0;
    /* A transient domain that has ended is not there any more; one that ends in between is no
     * error. */
    if (virDomainDestroy(gone) < 0 && !is_gone() && virDomainIsActive(gone) == 1)
        result = kvm_fail(e, "libvirt could not end the VM %s", virDomainGetName(gone));
    if (result == 0) {
        kvm_forget(virDomainGetName(gone));
        virDomainFree(gone);
        *domain = NULL;
    }
    return result;
}

/* Whether the metadata's id is this agent's. libvirt gives the element back as text. */
static bool is_ours(virDomainPtr domain, const char *agent_id)
{
    cleanup_free char *element = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                                      KVM_METADATA_URI, VIR_DOMAIN_AFFECT_LIVE);
    cleanup_free char *single = fs_path("id='%s'", agent_id);
    cleanup_free char *quoted = fs_path("id=\"%s\"", agent_id);
    return element && (strstr(element, single) || strstr(element, quoted));
}

/* VMs outlive their libvirtd. Without one nobody can tell whose they are, but that some are there.
 */
static int none_left(const struct host *host, const struct err *why, struct err *e)
{
    cleanup_free char *pattern = fs_path("/run/libvirt/qemu/pl%s-*.pid", host->id);
    glob_t found = {0};
    int result = 0;
    if (glob(pattern, 0, NULL, &found) == 0)
        result = err_set(e, ERR_UNAVAILABLE, "%s may be a VM of this agent, but %s",
                         found.gl_pathv[0], err_text(why));
    globfree(&found);
    return result;
}

int kvm_sweep(const struct host *host, unsigned *removed, struct err *e)
{
    virConnectPtr c;
    cleanup_err struct err unavailable = ERR_INIT;
    if (kvm_connect(host, &c, &unavailable) < 0)
        return none_left(host, &unavailable, e);
    virDomainPtr *all = NULL;
    int n = virConnectListAllDomains(c, &all, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (n < 0)
        return kvm_fail(e, "libvirt could not list its VMs");
    int result = 0;
    for (int i = 0; i < n; i++) {
        if (!is_ours(all[i], host->id)) {
            virDomainFree(all[i]);
            continue;
        }
        cleanup_err struct err one = ERR_INIT;
        if (kvm_end(&all[i], &one) == 0)
            (*removed)++;
        else if (result == 0)
            result = err_move(e, &one);
    }
    free(all);
    return result;
}
