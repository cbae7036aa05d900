// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/host/bridge.h"

#include "agent/host/host.h"
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int control_socket(struct err *e)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err_system(e, errno, "cannot make a socket");
    return fd;
}

static int set_up(int fd, const char *name, bool up, struct err *e)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return err_system(e, errno, "cannot read the flags of the network device %s", name);
    if (up)
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    else
        request.ifr_flags = (short)(request.ifr_flags & ~IFF_UP);
    if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return err_system(e, errno, "cannot bring the network device %s %s", name,
                          up ? "up" : "down");
    return 0;
}

/* With IPv6 on, the kernel would give it a link-local address and talk: router solicitations, MLD.
 */
static void keep_silent(const char *name)
{
    cleanup_free char *path = fs_path("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    fs_write_kernel(path, "1", NULL);
}

int bridge_make(const char *name, struct err *e)
{
    if (strlen(name) >= IFNAMSIZ)
        return err_set(e, ERR_INPUT, "the bridge's name %s is longer than %d characters", name,
                       IFNAMSIZ - 1);
    cleanup_close int fd = control_socket(e);
    if (fd < 0)
        return -1;
    if (ioctl(fd, SIOCBRADDBR, name) < 0 && errno != EEXIST)
        return err_system(e, errno, "cannot make the bridge %s", name);
    keep_silent(name);
    return set_up(fd, name, true, e);
}

int bridge_remove(const char *name, struct err *e)
{
    cleanup_close int fd = control_socket(e);
    if (fd < 0)
        return -1;
    if (!link_exists(name))
        return 0;
    if (set_up(fd, name, false, e) < 0)
        return -1;
    if (ioctl(fd, SIOCBRDELBR, name) < 0 && errno != ENXIO)
        return err_system(e, errno, "cannot delete the bridge %s", name);
    return 0;
}

bool link_exists(const char *name)
{
    return if_nametoindex(name) != 0;
}

int link_remove(const char *name, struct err *e)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = RTM_DELLINK,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .link = {.ifi_index = (int)if_nametoindex(name)},
    };
    if (request.link.ifi_index == 0)
        return 0;
    struct {
        struct nlmsghdr header;
        struct nlmsgerr answer;
        char rest[256];
    } reply = {0};
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || send(fd, &request, sizeof(request), 0) < 0 ||
        recv(fd, &reply, sizeof(reply), 0) < 0)
        return err_system(e, errno, "cannot delete the network device %s", name);
    int errnum = reply.header.nlmsg_type == NLMSG_ERROR ? -reply.answer.error : EPROTO;
    if (errnum != 0 && errnum != ENODEV)
        return err_system(e, errnum, "cannot delete the network device %s", name);
    return 0;
}

int host_bridge(struct host *h, const char **ret_name, struct err *e)
{
    if (h->bridge[0] == '\0' || !link_exists(h->bridge)) {
        char name[IFNAMSIZ];
        snprintf(name, sizeof(name), "pl%s0", h->id);
        uint64_t entry;
        if (journal_bridge(h->journal, name, &entry, e) < 0)
            return -1;
        memcpy(h->bridge, name, sizeof(h->bridge));
    }
    *ret_name = h->bridge;
    return 0;
}
