/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/guest/kvm-accel.h"

#include "agent/guest/common.h"
#include "agent/guest/kvm-connection.h"
#include "agent/guest/kvm-domain.h"
#include "agent/guest/kvm-initrd.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/utsname.h>

enum { TRIAL_S = 10, MEMORY_MOST_BYTES = 1 << 20 };

static const int64_t TRIAL_MEMORY_BYTES = INT64_C(256) << 20;

const char *kvm_accelerator_name(void)
{
    if (fs_exists("/sys/module/kvm_intel"))
        return "kvm/intel";
    if (fs_exists("/sys/module/kvm_amd"))
        return "kvm/amd";
    return fs_exists("/sys/module/kvm_pvm") ? "kvm/pvm" : "kvm";
}

bool kvm_host_is_nested(void)
{
    cleanup_file FILE *f = fopen("/proc/cpuinfo", "re");
    cleanup_free char *line = NULL;
    size_t room = 0;
    while (f && getline(&line, &room, f) > 0)
        if (strncmp(line, "flags", 5) == 0)
            return strstr(line, " hypervisor") != NULL;
    return false;
}

/* ---- What is remembered ---- */

/* All that the answer may depend on, in one word. */
static int trial_key(virConnectPtr c, const Plimsoll__Section *section, const struct image *image,
                     char ret[DIGEST_TEXT_BYTES], struct err *e)
{
    unsigned long qemu = 0;
    struct utsname host;
    if (virConnectGetVersion(c, &qemu) < 0)
        return kvm_fail(e, "libvirt does not know QEMU's version");
    uname(&host);
    cleanup_free char *text = fs_path(
        "%s %s %s %lu %s %s %s", image->kernel_digest ? image->kernel_digest : image->digest,
        host.release, host.version, qemu, kvm_accelerator_name(), settings_text(section, "machine"),
        settings_text(section, "cpu_model"));
    digest_bytes(text, strlen(text), ret);
    return 0;
}

static char *memory_path(const struct host *host)
{
    return fs_path("%s/accelerators", host->images_folder);
}

/* A line is "sha256:... yes" or "sha256:... no". 1, 0, or -1 for not known. */
static int recall(const struct host *host, const char *key)
{
    cleanup_free char *path = memory_path(host);
    cleanup_free char *text = NULL;
    size_t length;
    int known = -1;
    if (fs_read(path, MEMORY_MOST_BYTES, &text, &length, NULL) < 0)
        return -1;
    for (char *at = text, *line; (line = strsep(&at, "\n"));) {
        size_t n = strlen(key);
        if (strncmp(line, key, n) != 0)
            continue;
        if (strcmp(line + n, " yes") == 0)
            known = 1;
        else if (strcmp(line + n, " no") == 0)
            known = 0;
    }
    return known;
}

/* Not being able to remember costs the next campaign ten seconds, nothing else. */
static void remember(const struct host *host, const char *key, bool works)
{
    cleanup_free char *path = memory_path(host);
    cleanup_close int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || dprintf(fd, "%s %s\n", key, works ? "yes" : "no") < 0)
        log_warning("could not remember in %s whether KVM works", path);
}

/* ---- The trial boot ---- */

struct trial {
    const struct host *host;
    struct channel *channel;
    virDomainPtr domain;
    char *folder;
    char *channel_path;
    char *early_path;
    char *console_path;
    char *name;
};

static void trial_end(struct trial *t)
{
    cleanup_err struct err e = ERR_INIT;
    if (kvm_end(&t->domain, &e) < 0)
        log_warning("KVM's trial boot: %s", err_text(&e));
    kvm_forget(t->name);
    channel_free(&t->channel);
    unlink(t->channel_path);
    unlink(t->early_path);
    if (fs_remove_tree(t->folder, &e) < 0)
        log_warning("KVM's trial boot: %s", err_text(&e));
    free(t->folder);
    free(t->channel_path);
    free(t->early_path);
    free(t->console_path);
    free(t->name);
}

static char *trial_xml(const struct trial *t, const Plimsoll__Section *section,
                       const struct image *image, const char *initrd)
{
    struct kvm_domain d = {.name = t->name,
                           .agent_id = t->host->id,
                           .kvm = true,
                           .cpu = -1,
                           .kernel = image->kernel,
                           .initrd = initrd,
                           .command_line = "console=ttyS0 panic=-1",
                           .channel_path = t->channel_path,
                           .early_path = t->early_path,
                           .console_path = t->console_path};
    kvm_domain_from_section(&d, section);
    d.memory_bytes = TRIAL_MEMORY_BYTES;
    d.video = d.audio = d.usb = false;
    return kvm_domain_xml(&d);
}

/* 0: the mark came; -1 with the reason. */
static int trial_boot(struct trial *t, struct stamper *stamper, const Plimsoll__Section *section,
                      const struct image *image, virConnectPtr c, int cancel_fd, struct err *e)
{
    cleanup_free char *initrd = NULL;
    if (kvm_initrd(t->host, image, &initrd, e) < 0 || fs_make_dirs(t->folder, 0711, e) < 0 ||
        fs_make_dirs(t->host->run_folder, 0755, e) < 0 || channel_new(stamper, &t->channel, e) < 0)
        return -1;
    cleanup_free char *xml = trial_xml(t, section, image, initrd);
    if (kvm_launch(c, xml, &t->domain, e) < 0 ||
        channel_connect(t->channel, t->early_path, e) < 0 ||
        channel_connect(t->channel, t->channel_path, e) < 0)
        return -1;
    if (virDomainResume(t->domain) < 0)
        return kvm_fail(e, "libvirt could not start the VM");
    return channel_wait(t->channel, STAMP_KERNEL, clock_monotonic_ns() + TRIAL_S * NS_PER_S,
                        cancel_fd, e);
}

/* Asks the memory, else boots. *ret_works is 1 or 0; -1: cancelled, or something other than KVM
 * failed. */
static int kvm_works(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                     const struct image *image, virConnectPtr c, int cancel_fd, int *ret_works,
                     struct err *e)
{
    char key[DIGEST_TEXT_BYTES];
    if (trial_key(c, section, image, key, e) < 0)
        return -1;
    int known = recall(host, key);
    if (known >= 0) {
        *ret_works = known;
        return 0;
    }
    struct trial t = {.host = host,
                      .folder = fs_path("%s/guests/trial-boot", host->state_folder),
                      .channel_path = fs_path("%s/pl%s-trial.sock", host->run_folder, host->id),
                      .early_path = fs_path("%s/pl%s-trial-early.sock", host->run_folder, host->id),
                      .console_path = fs_path("%s/guests/trial-boot/console", host->state_folder),
                      .name = fs_path("pl%s-trial", host->id)};
    cleanup_err struct err why = ERR_INIT;
    int result = trial_boot(&t, stamper, section, image, c, cancel_fd, &why);
    trial_end(&t);
    /* A mark that did not come in time, or a VM that died, is KVM's answer; anything else is not.
     */
    if (result < 0 && why.code != ERR_TIMEOUT && why.code != ERR_PROTOCOL) {
        err_prefix(&why, "KVM's trial boot");
        return err_move(e, &why);
    }
    if (result < 0)
        log_info("KVM's trial boot: %s", err_text(&why));
    remember(host, key, result == 0);
    *ret_works = result == 0;
    return 0;
}

/* ---- The offer ---- */

static void offer(struct guest_offer *o, const char *accelerator)
{
    o->available = true;
    o->accelerator = fs_path("%s", accelerator);
    o->nested = kvm_host_is_nested();
}

static bool needs_kvm(const Plimsoll__Section *section)
{
    return strcmp(settings_text(section, "cpu_model"), "maximum") != 0;
}

/* TCG, because KVM was not asked for or because of `note`. */
static void offer_tcg(struct guest_offer *o, const Plimsoll__Section *section, const char *note)
{
    if (needs_kvm(section)) {
        offer_refuse(o, "cpu_model `%s` needs KVM%s%s", settings_text(section, "cpu_model"),
                     note ? "; " : "", note ? note : "");
        return;
    }
    offer(o, "tcg");
    if (note)
        o->note = fs_path("%s; TCG is used", note);
}

int kvm_accelerator(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                    const struct image *image, virConnectPtr c, int cancel_fd,
                    struct guest_offer *o, struct err *e)
{
    const char *wanted = settings_text(section, "accel");
    if (strcmp(wanted, "tcg") == 0) {
        offer_tcg(o, section, NULL);
        return 0;
    }
    cleanup_free char *obstacle = NULL;
    cleanup_close int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        obstacle = fs_path("/dev/kvm cannot be opened: %s", strerror(errno));
    } else {
        cleanup_err struct err why = ERR_INIT;
        int works = 0;
        if (kvm_works(host, stamper, section, image, c, cancel_fd, &works, &why) < 0) {
            if (why.code == ERR_CANCELLED)
                return err_move(e, &why);
            obstacle = fs_path("%s", err_text(&why));
        } else if (!works)
            obstacle =
                fs_path("KVM opens but did not boot the guest's kernel within %d s", TRIAL_S);
    }
    if (!obstacle)
        offer(o, kvm_accelerator_name());
    else if (strcmp(wanted, "kvm") == 0)
        offer_refuse(o, "%s", obstacle);
    else
        offer_tcg(o, section, obstacle);
    return 0;
}
