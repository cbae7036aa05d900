/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An allowed peer that means harm: one message of 4 GiB in parts, as fast as it is taken, and then
 * nothing until it is killed. `endless ENDPOINT PUBLIC_KEY_OF_THE_COORDINATOR PATH_OF_ITS_KEY` */
#include "common/cleanup.h"
#include "proto/keys.h"

#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

static void keep(void *data, void *hint)
{
    (void)data;
    (void)hint;
}

int main(int argc, char **argv)
{
    enum { PARTS = 4096, PART_BYTES = 1 << 20 };
    static char part[PART_BYTES];
    struct key_pair own;
    cleanup_err struct err e = ERR_INIT;
    if (argc != 4 || key_pair_load(argv[3], &own, &e) < 0) {
        fprintf(stderr, "endless: %s\n", err_text(&e));
        return 2;
    }
    void *context = zmq_ctx_new();
    void *s = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, argv[2], KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, own.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, own.secret_z85, KEY_Z85_BYTES);
    if (zmq_connect(s, argv[1]) < 0)
        return 2;
    /* libzmq begins to send with the last part, so there must be one; all are the same memory. */
    for (int i = 0; i < PARTS; i++) {
        zmq_msg_t m;
        zmq_msg_init_data(&m, part, sizeof part, keep, NULL);
        zmq_msg_send(&m, s, i + 1 < PARTS ? ZMQ_SNDMORE : 0);
    }
    pause();
    return 1;
}
