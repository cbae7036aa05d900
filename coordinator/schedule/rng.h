/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The generator an order is drawn from. It must give the same numbers for ever and everywhere,
 * since a stored seed stands for an order: so it is written out here and no library's.
 *
 * xoshiro256** 1.0 (Blackman and Vigna, ACM Trans. Math. Softw. 47 (2021) 36), its state filled by
 * splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
 */
#ifndef COORDINATOR_SCHEDULE_RNG_H
#define COORDINATOR_SCHEDULE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state[4];
};

/* One stream for each (seed, name): FNV-1a of the name is mixed in. */
void rng_seed(struct rng *r, uint64_t seed, const char *name);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, 1), in steps of 2^-53. */
double rng_real(struct rng *r);
/* Uniform in [0, n), without bias; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

#endif
