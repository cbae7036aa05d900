/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which accelerator runs a guest here. A /dev/kvm that opens proves nothing, and neither does one
 * that runs a few instructions: KVM counts only if the campaign's own kernel reaches the runner's
 * first mark under it.
 */
#ifndef AGENT_GUEST_KVM_ACCEL_H
#define AGENT_GUEST_KVM_ACCEL_H

#include "agent/guest/guest.h"

#include <libvirt/libvirt.h>

/* Fills the offer: available or why not, accelerator, nested, note. Boots a trial guest at most
 * once for a kernel of the image, host kernel, QEMU version, machine and CPU model; the answer is
 * kept in the images' folder, `accelerators`, one line each, the last one counts. -1 when there is
 * no answer (cancelled). */
int kvm_accelerator(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                    const struct image *image, virConnectPtr c, int cancel_fd,
                    struct guest_offer *o, struct err *e);

/* "kvm/intel", "kvm/amd", "kvm/pvm" by the module that is loaded, else "kvm". */
const char *kvm_accelerator_name(void);
/* Whether the host is itself a VM (the hypervisor bit of CPUID, as /proc/cpuinfo shows it). */
bool kvm_host_is_nested(void);

#endif
