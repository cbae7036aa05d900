/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/lease.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

Plimsoll__Lease *lease_copy(const Plimsoll__Lease *from)
{
    Plimsoll__Lease *to = malloc(sizeof *to);
    if (!to)
        abort();
    plimsoll__lease__init(to);
    to->campaign = strdup(from->campaign);
    if (!to->campaign)
        abort();
    to->trial = from->trial;
    to->attempt = from->attempt;
    to->lease = from->lease;
    return to;
}

bool lease_equal(const Plimsoll__Lease *a, const Plimsoll__Lease *b)
{
    return a && b && a->lease == b->lease && a->trial == b->trial && a->attempt == b->attempt &&
           strcmp(a->campaign, b->campaign) == 0;
}

int lease_save(const char *path, const Plimsoll__Lease *lease, struct err *e)
{
    cleanup_free uint8_t *frame = NULL;
    size_t length = 0;
    if (frame_encode(&lease->base, &frame, &length, e) < 0)
        return -1;
    cleanup_free char *draft = fs_path("%s.new", path);
    cleanup_close int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, frame, length) != (ssize_t)length || rename(draft, path) < 0)
        return err_system(e, errno, "cannot write %s", path);
    return 0;
}

Plimsoll__Lease *lease_load(const char *path)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    ProtobufCMessage *m = NULL;
    if (fs_read(path, FRAME_MOST_BYTES, &text, &length, NULL) < 0 ||
        frame_decode(&plimsoll__lease__descriptor, (const uint8_t *)text, length, &m, NULL) < 0)
        return NULL;
    return (Plimsoll__Lease *)m;
}
