/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A VM's initrd: the image's modules, and the runner as /init. The kernel unpacks archives that
 * follow each other (Documentation/driver-api/early-userspace/buffer-format.rst), so nothing is
 * repacked. */
#ifndef AGENT_GUEST_KVM_INITRD_H
#define AGENT_GUEST_KVM_INITRD_H

#include "agent/host/host.h"
#include "common/err.h"

#include <stddef.h>
#include <stdio.h>

/* Path of the initrd of this image and this build of the runner, made when it is not there yet;
 * kept in the state folder. The caller frees. */
int kvm_initrd(const struct host *host, const struct image *image, char **ret_path, struct err *e);

/* One file of mode 0755 as a whole newc archive, trailer included. */
void cpio_write_program(FILE *to, const char *name, const void *data, size_t length);

#endif
