/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asks a coordinator whether it would let a key in, and disturbs nobody: no session is made. */
#ifndef PROTO_INQUIRY_H
#define PROTO_INQUIRY_H

#include "common/err.h"
#include "proto/keys.h"

#include <stdint.h>
#include <stdio.h>

struct inquiry {
    const char *endpoint, *server_z85;
    const struct key_pair *key;
    const char *name; /* that the key is to be allowed under */
};

/* Waits for an answer for as long as a handshake may take, and prints what it is: indented lines
 * for a person, with what to do. 0: welcome; ERR_REFUSED; ERR_UNAVAILABLE: nobody there, or no
 * coordinator, or one with another key. */
int inquire(const struct inquiry *q, FILE *out, struct err *e);

#endif
