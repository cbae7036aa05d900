/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Init of a VM's initrd. A distribution's own initrd costs seconds and tells nothing; this one
 * loads the listed modules, reports, mounts the root disk and hands over.
 */
#include "agent/runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#define MODULE_LIST "/modules.list"
#define ROOT_DEVICE "/dev/vda"
#define EARLY_LINE  "/dev/ttyS1"
#define NEW_ROOT    "/newroot"

enum { PORT_WAIT_S = 20, ROOT_WAIT_MS = 20000 };

/* The kernel's console keeps the reason; the agent keeps the console. */
static int give_up(const char *what)
{
    runner_fail("%s", what);
    sync();
    reboot(RB_POWER_OFF);
    return RUNNER_EXIT_FAILED; /* pid 1 ending is a panic, which ends the domain as well */
}

static int mount_kernel_files(void)
{
    int failed = mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    failed |= mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    return failed;
}

/* A module that the kernel has built in, or that finds no device, is no reason to stop. */
static void module_load(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, name[0] == '/' ? "%s" : "/modules/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        runner_fail("could not open module %s", path);
        return;
    }
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
        runner_fail("could not load module %s", path);
    close(fd);
}

/* What stands on the serial line is for people, and for a witness who trusts no mark. */
static void console_say(const char *phase)
{
    dprintf(STDOUT_FILENO, "plimsoll-runner: %s\n", phase);
}

/*
 * The virtio port needs half a dozen modules, which take most of a second in an emulator; the
 * serial driver is in the kernel. So a second serial line takes the first mark, at the first
 * instruction but a mount. Where a VM has none, the port's mark, which is always sent too, is the
 * only one.
 */
static void report_kernel_early(void)
{
    struct termios raw;
    int fd = open(EARLY_LINE, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && tcgetattr(fd, &raw) == 0) {
        cfmakeraw(&raw);
        raw.c_cflag |= CLOCAL;
        if (tcsetattr(fd, TCSANOW, &raw) == 0)
            mark_send(fd, PLIMSOLL__PHASE__PHASE_KERNEL);
    }
    console_say("kernel"); /* the kernel opened its console for us */
    if (fd >= 0)
        close(fd);
}

/* Reports as soon as the port is there: the modules behind the console's need not be waited for. */
static int modules_load(int *port)
{
    FILE *list = fopen(MODULE_LIST, "re");
    if (!list)
        return errno == ENOENT ? 0 : -1;
    char line[256];
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, " \t\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        module_load(line);
        if (*port < 0 && (*port = port_open_now()) >= 0)
            mark_send(*port, PLIMSOLL__PHASE__PHASE_KERNEL);
    }
    fclose(list);
    return 0;
}

static int root_mount(void)
{
    for (int i = 0; i < ROOT_WAIT_MS; i++) {
        if (mount(ROOT_DEVICE, NEW_ROOT, "ext4", 0, NULL) == 0)
            return 0;
        if (errno != ENOENT && errno != ENXIO && errno != ENOTBLK)
            return -1;
        usleep(1000); /* the disk's device node appears asynchronously */
    }
    return -1;
}

/* The runner goes with us: it is not part of the image. */
static int runner_bring(void)
{
    if (mkdir(NEW_ROOT RUNNER_FOLDER, 0755) < 0 && errno != EEXIST)
        return -1;
    if (mount("tmpfs", NEW_ROOT RUNNER_FOLDER, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
        return -1;
    int from = open("/init", O_RDONLY | O_CLOEXEC);
    int to = open(NEW_ROOT RUNNER_FOLDER "/runner", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    struct stat s;
    int result = -1;
    if (from >= 0 && to >= 0 && fstat(from, &s) == 0) {
        off_t left = s.st_size;
        ssize_t n = 1;
        while (left > 0 && (n = sendfile(to, from, NULL, (size_t)left)) > 0)
            left -= n;
        result = left == 0 ? fchmod(to, 0755) : -1;
    }
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return result;
}

/* The initramfs is memory for as long as it has files. */
static void initramfs_empty(void)
{
    FILE *list = fopen(MODULE_LIST, "re");
    char line[256];
    char path[300];
    while (list && fgets(line, sizeof line, list)) {
        line[strcspn(line, " \t\r\n")] = '\0';
        snprintf(path, sizeof path, line[0] == '/' ? "%s" : "/modules/%s", line);
        unlink(path);
    }
    if (list)
        fclose(list);
    unlink(MODULE_LIST);
    unlink("/init");
}

static int root_switch(void)
{
    static const char *const moved[] = {"/dev", "/sys", "/proc"};
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
        char to[64];
        snprintf(to, sizeof to, NEW_ROOT "%s", moved[i]);
        if (mount(moved[i], to, NULL, MS_MOVE, NULL) < 0)
            return -1;
    }
    if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
        return -1;
    return chdir("/");
}

int initrd_main(void)
{
    char *const init[] = {(char *)"/sbin/init", NULL};
    int port = -1;
    int devices = mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
    report_kernel_early();
    if (devices < 0 || mount_kernel_files() < 0)
        return give_up("could not mount /dev, /sys and /proc");
    if (modules_load(&port) < 0)
        return give_up("could not read " MODULE_LIST);
    if (port < 0) {
        port = port_open(PORT_WAIT_S * INT64_C(1000000000));
        if (port < 0)
            return give_up("no virtio port is named " RUNNER_PORT);
        mark_send(port, PLIMSOLL__PHASE__PHASE_KERNEL);
    }
    if (root_mount() < 0)
        return give_up("could not mount " ROOT_DEVICE);
    if (runner_bring() < 0)
        return give_up("could not copy the runner to " RUNNER_FOLDER);
    initramfs_empty();
    if (root_switch() < 0)
        return give_up("could not switch to the root disk");
    mark_send(port, PLIMSOLL__PHASE__PHASE_INIT);
    console_say("init");
    execv(init[0], init);
    return give_up("could not run /sbin/init");
}
