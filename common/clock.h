/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The two clocks. Latencies are differences of the monotonic one; the other is for people. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);

/* What is left until `deadline_ns` (monotonic) in ms as poll(2) takes it: rounded up, 0 when past,
 * at most an hour. A deadline of 0 means none and gives -1. */
int clock_poll_ms(int64_t deadline_ns);

#endif
