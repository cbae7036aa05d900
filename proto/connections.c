/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/connections.h"

#include "common/clock.h"
#include "common/log.h"

#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Handshake and hello; libzmq itself ends a handshake after SOCKET_HANDSHAKE_MS. */
#define SILENT_NS    (15 * NS_PER_S)
#define LAST_WORD_NS NS_PER_S

static struct connection *find(const struct connections *c, int fd)
{
    if (fd < 0 || (size_t)fd >= c->n || !c->by_fd[fd].open)
        return NULL;
    return &c->by_fd[fd];
}

static bool peer_of(int fd, struct sockaddr_in6 *ret)
{
    socklen_t length = sizeof *ret;
    memset(ret, 0, sizeof *ret);
    return getpeername(fd, (struct sockaddr *)ret, &length) == 0;
}

/* The descriptor is libzmq's, which may have closed it, and somebody else may have got its number.
 */
static bool same_peer(const struct connection *now, int fd)
{
    struct sockaddr_in6 peer;
    return peer_of(fd, &peer) && memcmp(&peer, &now->peer, sizeof peer) == 0;
}

void connections_open(struct connections *c, int fd)
{
    if (fd < 0)
        return;
    if ((size_t)fd >= c->n) {
        size_t n = (size_t)fd + 64;
        struct connection *larger = reallocarray(c->by_fd, n, sizeof *larger);
        if (!larger)
            abort();
        memset(larger + c->n, 0, (n - c->n) * sizeof *larger);
        c->by_fd = larger;
        c->n = n;
    }
    struct connection *now = &c->by_fd[fd];
    *now = (struct connection){.open = true, .cut_at_ns = clock_monotonic_ns() + SILENT_NS};
    peer_of(fd, &now->peer);
    c->open++;
}

void *connections_close(struct connections *c, int fd)
{
    struct connection *now = find(c, fd);
    if (!now)
        return NULL;
    void *data = now->data;
    *now = (struct connection){0};
    c->open--;
    return data;
}

void connections_free(struct connections *c)
{
    free(c->by_fd);
    *c = (struct connections){0};
}

void connections_set_data(struct connections *c, int fd, void *data)
{
    struct connection *now = find(c, fd);
    if (now)
        now->data = data;
}

bool connections_adopt(struct connections *c, int fd)
{
    struct connection *now = find(c, fd);
    if (!now || now->data)
        return false;
    now->cut_at_ns = 0;
    return true;
}

void connections_heard(struct connections *c, int fd)
{
    struct connection *now = find(c, fd);
    if (now)
        now->heard = true;
}

void connections_shutdown(struct connections *c, int fd)
{
    struct connection *now = find(c, fd);
    if (!now)
        return;
    now->over = true;
    if (same_peer(now, fd))
        shutdown(fd, SHUT_RDWR);
}

void connections_cut_soon(struct connections *c, int fd)
{
    struct connection *now = find(c, fd);
    if (!now)
        return;
    now->over = true;
    now->cut_at_ns = clock_monotonic_ns() + LAST_WORD_NS;
}

bool connections_is_over(const struct connections *c, int fd)
{
    const struct connection *now = find(c, fd);
    return now && now->over;
}

/* tcp(7), TCP_INFO; tcpi_bytes_received counts what TCP took in, read by us or not. */
static bool is_flooding(struct connection *now, int fd)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return false;
    uint64_t received = info.tcpi_bytes_received;
    if (now->heard || received < now->heard_bytes) {
        now->heard = false;
        now->heard_bytes = received;
    }
    return received - now->heard_bytes > CONNECTION_MOST_UNHEARD_BYTES;
}

size_t connections_tick(struct connections *c)
{
    int64_t now_ns = clock_monotonic_ns();
    for (size_t fd = 0; fd < c->n; fd++) {
        struct connection *now = &c->by_fd[fd];
        if (!now->open)
            continue;
        bool flooding = is_flooding(now, (int)fd);
        if (flooding)
            log_warning("a peer sends one message without an end; its connection is cut");
        if (flooding || (now->cut_at_ns != 0 && now_ns >= now->cut_at_ns))
            connections_shutdown(c, (int)fd);
    }
    return c->open;
}
