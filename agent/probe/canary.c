/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/probe/canary.h"

#include "common/clock.h"

#include <sched.h>

enum { CANARY_ROUNDS = 1000000 };

/* Marsaglia's xorshift64: each round needs the one before, so it measures the core's clock and
 * little else. */
static uint64_t spin(uint64_t x)
{
    for (int i = 0; i < CANARY_ROUNDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

int64_t canary_spin_ns(int cpu)
{
    cpu_set_t usual, one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    int moved = sched_getaffinity(0, sizeof usual, &usual) == 0 &&
                sched_setaffinity(0, sizeof one, &one) == 0;
    int64_t start_ns = clock_monotonic_ns();
    volatile uint64_t sink = spin(88172645463325252U);
    (void)sink;
    int64_t took_ns = clock_monotonic_ns() - start_ns;
    if (moved)
        sched_setaffinity(0, sizeof usual, &usual);
    return took_ns;
}
