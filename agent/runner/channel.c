/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest's end of the channel. */
#include "agent/runner/runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int64_t guest_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int socket_open_now(void)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = RUNNER_SOCKET};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

static int port_has_name(const char *port)
{
    char path[128];
    char name[sizeof RUNNER_PORT + 1] = "";
    if ((size_t)snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", port) >= sizeof path)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, name, sizeof name - 1);
    close(fd);
    if (n <= 0)
        return 0;
    name[strcspn(name, "\n")] = '\0';
    return strcmp(name, RUNNER_PORT) == 0;
}

int port_open_now(void)
{
    DIR *folder = opendir("/sys/class/virtio-ports");
    if (!folder)
        return -1;
    int fd = -1;
    int errnum = ENOENT;
    for (struct dirent *d; fd < 0 && (d = readdir(folder));) {
        if (d->d_name[0] == '.' || !port_has_name(d->d_name))
            continue;
        char path[128];
        snprintf(path, sizeof path, "/dev/%.100s", d->d_name);
        fd = open(path, O_RDWR | O_CLOEXEC);
        errnum = errno;
    }
    closedir(folder);
    errno = errnum;
    return fd;
}

int port_open(int64_t wait_ns)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int64_t until_ns = guest_clock_ns() + wait_ns;
    int fd;
    /* The port appears when the host has answered over the control queue; nothing can be polled for
     * that before its device node exists. */
    while ((fd = port_open_now()) < 0 && guest_clock_ns() < until_ns)
        nanosleep(&pause, NULL);
    return fd;
}

int channel_open_now(void)
{
    int fd = socket_open_now();
    if (fd >= 0 || access(RUNNER_FOLDER "/channel", F_OK) == 0)
        return fd;
    return port_open_now();
}

int mark_send(int fd, Plimsoll__Phase phase)
{
    const unsigned char frame[MARK_BYTES] = MARK_FRAME((unsigned char)phase);
    for (size_t done = 0; done < sizeof frame;) {
        ssize_t n = write(fd, frame + done, sizeof frame - done);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            done += (size_t)n;
    }
    return 0;
}
