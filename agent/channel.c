/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest is not trusted: it may send anything, as fast as it likes, to a thread of real-time
 * priority. So a channel has a budget of connections and of unasked-for frames; past it, or at the
 * first byte out of step, the connection is closed and the channel is broken.
 */
#include "agent/channel.h"
#include "agent/stamper.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    MOST_FRAME_BYTES = 96 << 10, /* Finished with 64 KiB of output */
    MOST_CONNECTIONS = 256,      /* in a channel's life */
    MOST_AT_ONCE = 16,
    MOST_MARKS = 16, /* of one connection: it has three kinds of mark to send */
    BACKLOG = 64,
};

struct connection {
    struct channel *channel;
    struct connection *next;
    struct frame_stream *stream;
    uint64_t watch;
    int fd;
    /* When it reached our listener; 0 where we connected. A runner connects for nothing but to
     * report, so its first mark is stamped with this: the bytes come by a second wake-up. */
    int64_t arrived_ns;
    unsigned marks;
    bool ready; /* said so, and serves requests */
};

struct channel {
    struct stamper *stamper;
    /* Written at every change, read by the one thread that waits. */
    int changed;
    /* All below under the stamper's lock. */
    int64_t stamps_ns[STAMP_COUNT];
    struct connection *connections; /* newest first */
    unsigned n_connections;         /* so far */
    unsigned n_open;
    int listener; /* or -1 */
    uint64_t listener_watch;
    char *socket_path;          /* of the listener: ours to unlink */
    bool connects;              /* channel_connect was called: there will be no other connection */
    struct err broken;          /* what the guest's side did wrong */
    struct connection *asked;   /* has a request to answer */
    Plimsoll__Finished *answer; /* that came and nobody has taken yet */
};

static void changed(struct channel *c)
{
    eventfd_write(c->changed, 1);
}

static void stamp(struct channel *c, enum stamp which, int64_t now_ns)
{
    if (c->stamps_ns[which] == 0)
        c->stamps_ns[which] = now_ns;
}

static void connection_close(struct connection *gone)
{
    struct channel *c = gone->channel;
    for (struct connection **at = &c->connections; *at; at = &(*at)->next) {
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    }
    if (c->asked == gone)
        c->asked = NULL;
    c->n_open--;
    stamper_unwatch(c->stamper, gone->watch);
    close(gone->fd);
    frame_stream_free(gone->stream);
    free(gone);
    changed(c);
}

/* Moves `e`; the first reason stays. */
static void channel_break(struct channel *c, struct err *e)
{
    if (c->broken.code == ERR_NONE)
        err_move(&c->broken, e);
    c->broken.code = ERR_PROTOCOL;
    changed(c);
}

static int mark_take(struct connection *n, const Plimsoll__Mark *mark, int64_t now_ns,
                     struct err *e)
{
    static const enum stamp stamps[] = {[PLIMSOLL__PHASE__PHASE_KERNEL] = STAMP_KERNEL,
                                        [PLIMSOLL__PHASE__PHASE_INIT] = STAMP_INIT,
                                        [PLIMSOLL__PHASE__PHASE_READY] = STAMP_READY};
    int phase = (int)mark->phase;
    if (phase <= PLIMSOLL__PHASE__PHASE_NONE || phase > PLIMSOLL__PHASE__PHASE_READY)
        return err_set(e, ERR_PROTOCOL, "a mark of phase %d", phase);
    if (++n->marks > MOST_MARKS)
        return err_set(e, ERR_PROTOCOL, "more than %d marks on one connection", MOST_MARKS);
    bool first = n->marks == 1 && n->arrived_ns;
    stamp(n->channel, stamps[phase], first ? n->arrived_ns : now_ns);
    if (phase == PLIMSOLL__PHASE__PHASE_READY)
        n->ready = true;
    changed(n->channel);
    return 0;
}

static int answer_take(struct connection *n, Plimsoll__Runner *message, struct err *e)
{
    struct channel *c = n->channel;
    if (c->asked != n)
        return err_set(e, ERR_PROTOCOL, "an answer that nobody asked for");
    c->asked = NULL;
    c->answer = steal(message->finished);
    message->kind_case = PLIMSOLL__RUNNER__KIND__NOT_SET;
    changed(c);
    return 0;
}

static int frame_take(struct connection *n, const uint8_t *frame, size_t length, int64_t now_ns,
                      struct err *e)
{
    ProtobufCMessage *message = NULL;
    if (frame_decode(&plimsoll__runner__descriptor, frame, length, &message, e) < 0)
        return -1;
    Plimsoll__Runner *runner = (Plimsoll__Runner *)message;
    int result;
    if (runner->kind_case == PLIMSOLL__RUNNER__KIND_MARK)
        result = mark_take(n, runner->mark, now_ns, e);
    else if (runner->kind_case == PLIMSOLL__RUNNER__KIND_FINISHED)
        result = answer_take(n, runner, e);
    else
        result = err_set(e, ERR_PROTOCOL, "neither a mark nor an answer");
    frame_free(message);
    return result;
}

static int bytes_take(struct connection *n, const void *data, size_t length, int64_t now_ns,
                      struct err *e)
{
    const uint8_t *frame;
    size_t frame_length;
    if (frame_stream_feed(n->stream, data, length, e) < 0)
        return -1;
    int more;
    while ((more = frame_stream_next(n->stream, &frame, &frame_length, e)) > 0)
        if (frame_take(n, frame, frame_length, now_ns, e) < 0)
            return -1;
    return more;
}

/* One read a wake-up: the next bytes, if there are any, get the next wake-up's stamp. */
static void connection_readable(void *arg, int64_t now_ns)
{
    struct connection *n = arg;
    char buffer[16384];
    ssize_t length = recv(n->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        connection_close(n);
        return;
    }
    cleanup_err struct err e = ERR_INIT;
    if (bytes_take(n, buffer, (size_t)length, now_ns, &e) < 0) {
        err_prefix(&e, "what the guest sent is not the runner's");
        channel_break(n->channel, &e);
        connection_close(n);
    }
}

/* Takes the descriptor, also when it fails. */
static int connection_add(struct channel *c, int fd, int64_t arrived_ns, struct err *e)
{
    cleanup_close int owned = fd;
    struct connection *n = calloc(1, sizeof *n);
    struct frame_stream *stream = frame_stream_new(MOST_FRAME_BYTES);
    if (!n || !stream) {
        free(n);
        frame_stream_free(stream);
        return err_system(e, ENOMEM, "a guest's connection");
    }
    *n = (struct connection){
        .channel = c, .next = c->connections, .stream = stream, .fd = fd, .arrived_ns = arrived_ns};
    if (stamper_watch(c->stamper, fd, connection_readable, n, &n->watch, e) < 0) {
        free(n);
        frame_stream_free(stream);
        return -1;
    }
    steal_fd(&owned);
    c->connections = n;
    c->n_connections++;
    c->n_open++;
    return 0;
}

static void listener_close(struct channel *c)
{
    if (c->listener < 0)
        return;
    stamper_unwatch(c->stamper, c->listener_watch);
    close(steal_fd(&c->listener));
}

static void listener_readable(void *arg, int64_t now_ns)
{
    struct channel *c = arg;
    cleanup_err struct err e = ERR_INIT;
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return;
    if (fd < 0) {
        err_system(&e, errno, "could not accept a guest's connection");
    } else if (c->n_open >= MOST_AT_ONCE || c->n_connections >= MOST_CONNECTIONS) {
        close(fd);
        err_set(&e, ERR_PROTOCOL, "the guest connected more often than a runner does");
    } else if (connection_add(c, fd, now_ns, &e) == 0) {
        return;
    }
    channel_break(c, &e);
    listener_close(c);
}

int channel_new(struct stamper *s, struct channel **ret, struct err *e)
{
    struct channel *c = calloc(1, sizeof *c);
    if (!c)
        return err_system(e, ENOMEM, "a guest's channel");
    c->stamper = s;
    c->listener = -1;
    c->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->changed < 0) {
        free(c);
        return err_system(e, errno, "a guest's channel");
    }
    *ret = c;
    return 0;
}

/*
 * A socket's address holds 107 bytes and state folders may lie deep, so the folder is opened and
 * named through /proc (proc(5), /proc/PID/fd). *ret_folder keeps the name good.
 */
static int address_of(const char *path, struct sockaddr_un *address, int *ret_folder, struct err *e)
{
    const char *slash = strrchr(path, '/');
    cleanup_free char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    const char *name = slash ? slash + 1 : path;
    if (!folder)
        return err_system(e, ENOMEM, "%s", path);
    cleanup_close int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_system(e, errno, "%s", folder);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", fd, name);
    if (n < 0 || (size_t)n >= sizeof address->sun_path)
        return err_set(e, ERR_INPUT, "%s: too long a name for a socket", path);
    *ret_folder = steal_fd(&fd);
    return 0;
}

/* What runs in a guest may be nobody; the folder decides who comes near. */
static int socket_listen(const char *path, int *ret_fd, struct err *e)
{
    struct sockaddr_un address;
    cleanup_close int folder = -1;
    if (address_of(path, &address, &folder, e) < 0)
        return -1;
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_system(e, errno, "a guest's socket");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return err_system(e, errno, "could not bind %s", path);
    if (chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0) {
        int errnum = errno;
        unlink(path);
        return err_system(e, errnum, "could not listen at %s", path);
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

int channel_listen(struct stamper *s, const char *socket_path, struct channel **ret, struct err *e)
{
    struct channel *c = NULL;
    if (channel_new(s, &c, e) < 0)
        return -1;
    c->socket_path = strdup(socket_path);
    int fd = -1;
    if (!c->socket_path || socket_listen(socket_path, &fd, e) < 0) {
        free(steal(c->socket_path)); /* whoever is bound there is not ours to unlink */
        channel_free(&c);
        return -1;
    }
    stamper_lock(s);
    c->listener = fd;
    int result = stamper_watch(s, fd, listener_readable, c, &c->listener_watch, e);
    if (result < 0)
        close(steal_fd(&c->listener));
    stamper_unlock(s);
    if (result < 0)
        channel_free(&c);
    else
        *ret = c;
    return result;
}

int channel_connect(struct channel *c, const char *socket_path, struct err *e)
{
    struct sockaddr_un address;
    cleanup_close int folder = -1;
    if (address_of(socket_path, &address, &folder, e) < 0)
        return -1;
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_system(e, errno, "a guest's socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return err_system(e, errno, "could not connect to %s", socket_path);
    stamper_lock(c->stamper);
    c->connects = true;
    int result = connection_add(c, steal_fd(&fd), 0, e);
    stamper_unlock(c->stamper);
    return result;
}

void channel_free(struct channel **c)
{
    if (!*c)
        return;
    struct channel *gone = steal(*c);
    stamper_lock(gone->stamper);
    listener_close(gone);
    while (gone->connections)
        connection_close(gone->connections);
    stamper_unlock(gone->stamper);
    if (gone->socket_path)
        unlink(gone->socket_path);
    if (gone->answer)
        frame_free(&gone->answer->base);
    err_clear(&gone->broken);
    free(gone->socket_path);
    close(gone->changed);
    free(gone);
}

void channel_stamp(struct channel *c, enum stamp which, int64_t now_ns)
{
    stamper_lock(c->stamper);
    stamp(c, which, now_ns);
    stamper_unlock(c->stamper);
    changed(c);
}

int64_t channel_stamped_ns(struct channel *c, enum stamp which)
{
    stamper_lock(c->stamper);
    int64_t at_ns = c->stamps_ns[which];
    stamper_unlock(c->stamper);
    return at_ns;
}

/* Sleeps until something of the channel changed. */
static int wait_for_change(struct channel *c, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct pollfd fds[] = {{.fd = c->changed, .events = POLLIN},
                           {.fd = cancel_fd, .events = POLLIN}};
    int n = poll(fds, 2, clock_poll_ms(deadline_ns));
    if (n < 0 && errno != EINTR)
        return err_system(e, errno, "could not wait for the guest");
    if (n > 0 && fds[1].revents)
        return err_set(e, ERR_CANCELLED, "cancelled");
    eventfd_t count;
    if (n > 0)
        eventfd_read(c->changed, &count);
    else if (deadline_ns && clock_monotonic_ns() >= deadline_ns)
        return err_set(e, ERR_TIMEOUT, "no answer in time");
    return 0;
}

/* Locked. Whether nothing can come any more, and why. */
static int hopeless(struct channel *c, struct err *e)
{
    if (c->broken.code != ERR_NONE)
        return err_set(e, ERR_PROTOCOL, "%s", err_text(&c->broken));
    if (c->connects && !c->connections)
        return err_set(e, ERR_PROTOCOL, "the guest's end of the channel is closed");
    return 0;
}

int channel_wait(struct channel *c, enum stamp which, int64_t deadline_ns, int cancel_fd,
                 struct err *e)
{
    static const char *const names[STAMP_COUNT] = {"request", "created", "started",
                                                   "kernel",  "init",    "ready"};
    for (;;) {
        stamper_lock(c->stamper);
        bool there = c->stamps_ns[which] != 0;
        int result = there ? 0 : hopeless(c, e);
        stamper_unlock(c->stamper);
        if (there)
            return 0;
        if (result < 0 || wait_for_change(c, deadline_ns, cancel_fd, e) < 0)
            return err_prefix(e, "waiting for \"%s\"", names[which]);
    }
}

/* Locked. The request's connection, duplicated: the original may be closed at any time. */
static int ask(struct channel *c, int *ret_fd, struct err *e)
{
    if (c->answer)
        frame_free(&steal(c->answer)->base);
    struct connection *n = c->connections;
    while (n && !n->ready)
        n = n->next;
    if (!n)
        return err_set(e, ERR_PROTOCOL, "no runner in the guest is ready for requests");
    int fd = fcntl(n->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return err_system(e, errno, "a guest's connection");
    c->asked = n;
    *ret_fd = fd;
    return 0;
}

/* Locked. 1: taken; 0: not yet; -1: will not come. */
static int answer_ready(struct channel *c, Plimsoll__Finished **ret, struct err *e)
{
    if (c->answer) {
        *ret = steal(c->answer);
        return 1;
    }
    if (hopeless(c, e) < 0)
        return -1;
    if (!c->asked)
        return err_set(e, ERR_PROTOCOL, "the runner closed the channel without an answer");
    return 0;
}

static int answer_wait(struct channel *c, int64_t deadline_ns, int cancel_fd,
                       Plimsoll__Finished **ret, struct err *e)
{
    for (;;) {
        stamper_lock(c->stamper);
        int found = answer_ready(c, ret, e);
        stamper_unlock(c->stamper);
        if (found)
            return found < 0 ? -1 : 0;
        if (wait_for_change(c, deadline_ns, cancel_fd, e) < 0)
            return -1;
    }
}

/* A runner that was asked and not waited for would answer the next request with this one's result.
 */
static void give_up(struct channel *c)
{
    stamper_lock(c->stamper);
    if (c->asked)
        connection_close(c->asked);
    stamper_unlock(c->stamper);
}

int channel_exec(struct channel *c, const Plimsoll__Exec *exec, int64_t deadline_ns, int cancel_fd,
                 Plimsoll__Finished **ret, struct err *e)
{
    cleanup_close int fd = -1;
    stamper_lock(c->stamper);
    int result = ask(c, &fd, e);
    stamper_unlock(c->stamper);
    if (result < 0)
        return -1;
    Plimsoll__Exec copy = *exec;
    Plimsoll__Runner request = PLIMSOLL__RUNNER__INIT;
    request.kind_case = PLIMSOLL__RUNNER__KIND_EXEC;
    request.exec = &copy;
    if (frame_write(fd, &request.base, deadline_ns, e) == 0 &&
        answer_wait(c, deadline_ns, cancel_fd, ret, e) == 0)
        return 0;
    give_up(c);
    return err_prefix(e, "running %s in the guest", exec->n_argv ? exec->argv[0] : "nothing");
}
