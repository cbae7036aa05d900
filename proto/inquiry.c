/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/inquiry.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/units.h"
#include "proto/key_table.h"
#include "proto/peer.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* A difference of clocks that matters for a date. */
#define SKEW_NS (5 * NS_PER_S)

struct asking {
    const struct inquiry *inquiry;
    struct peer *peer;
    bool welcome, refused;
    int64_t expires_ns, ahead_ns;
    bool clock_told;
    char *why;
};

static void on_hello(void *arg, Plimsoll__Hello *hello)
{
    struct asking *a = arg;
    hello->name = (char *)a->inquiry->name;
    hello->inquiry = true;
}

static void finish(struct asking *a)
{
    a->clock_told = peer_clock_ahead_ns(a->peer, &a->ahead_ns);
    peer_stop(&a->peer);
}

static void on_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    struct asking *a = arg;
    a->welcome = true;
    a->expires_ns = welcome->key_expires_ns;
    finish(a);
}

static void on_message(void *arg, const Plimsoll__Envelope *m)
{
    (void)arg;
    (void)m;
}

static void on_lost(void *arg, bool refused, const char *why)
{
    struct asking *a = arg;
    a->refused = refused;
    a->why = fs_path("%s", why);
    finish(a);
}

/* The loop ends by itself: whatever comes first stops the peer. */
static int ask(struct asking *a, struct err *e)
{
    static const struct peer_events events = {
        .hello = on_hello, .welcomed = on_welcomed, .message = on_message, .lost = on_lost};
    const struct inquiry *q = a->inquiry;
    uv_loop_t loop;
    void *zmq = zmq_ctx_new();
    uv_loop_init(&loop);
    int failed =
        peer_start(&loop, zmq, q->endpoint, q->server_z85, q->key, &events, a, &a->peer, e);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    zmq_ctx_term(zmq);
    return failed;
}

static void print_clock(const struct asking *a, FILE *out)
{
    char text[32];
    int64_t apart_ns = a->ahead_ns < 0 ? -a->ahead_ns : a->ahead_ns;
    if (a->clock_told && apart_ns > SKEW_NS)
        fprintf(out,
                "  the coordinator's clock is %s %s of this host's; keys expire by its clock\n",
                units_format_duration(apart_ns / NS_PER_S * NS_PER_S, text),
                a->ahead_ns < 0 ? "behind" : "ahead");
}

static int judge(const struct asking *a, FILE *out, struct err *e)
{
    const struct inquiry *q = a->inquiry;
    char time[KEY_TIME_BYTES];
    fprintf(out, "  %s at %s: %s\n", q->name, q->endpoint,
            a->welcome   ? "welcome"
            : a->refused ? "refused"
                         : "no answer");
    fprintf(out, "  key %s%s%s\n", q->key->public_z85, a->expires_ns ? ", expires " : "",
            a->expires_ns ? key_time_format(a->expires_ns, time) : "");
    if (!a->welcome)
        fprintf(out, "  %s\n", a->why);
    print_clock(a, out);
    if (a->welcome)
        return 0;
    return err_set(e, a->refused ? ERR_REFUSED : ERR_UNAVAILABLE, "%s", a->why);
}

int inquire(const struct inquiry *q, FILE *out, struct err *e)
{
    struct asking a = {.inquiry = q};
    int failed = ask(&a, e);
    if (!failed)
        failed = judge(&a, out, e);
    free(a.why);
    return failed;
}
