/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The variants of a plan's guests. A key that is a factor makes several sections of one name
 * (memory, accel, ...); a host is asked for each, in order, and offers them in that order: the
 * offers of one name and image are told apart by which of them it is.
 */
#ifndef COORDINATOR_SCHEDULE_VARIANTS_H
#define COORDINATOR_SCHEDULE_VARIANTS_H

#include "proto/plimsoll.pb-c.h"

#include <stddef.h>
#include <stdint.h>

/* Different guest sections in order of their first cell, at most `most`; borrowed from the plan. */
size_t variants_list(const Plimsoll__Plan *plan, Plimsoll__Section **ret, size_t most);

/* For each cell which variant of its guest's name it has, from 0. The caller frees; NULL when
 * memory is out. */
uint32_t *variants_of_cells(const Plimsoll__Plan *plan);

#endif
