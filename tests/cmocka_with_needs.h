/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cmocka.h leaves out the headers that it needs, and their order matters. */
#ifndef TESTS_CMOCKA_WITH_NEEDS_H
#define TESTS_CMOCKA_WITH_NEEDS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#endif
