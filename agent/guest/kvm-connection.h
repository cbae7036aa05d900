/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * libvirt as the launcher of VMs. One connection, opened when first needed and again when it was
 * lost, with its event thread, which answers libvirtd's keep-alives: a call to a daemon that hangs
 * fails then instead of blocking for ever. On the trial thread.
 */
#ifndef AGENT_GUEST_KVM_CONNECTION_H
#define AGENT_GUEST_KVM_CONNECTION_H

#include "agent/host/host.h"
#include "common/err.h"

#include <libvirt/libvirt.h>

/* The connection to host->libvirt_uri, borrowed: never close it. ERR_UNAVAILABLE says why not. */
int kvm_connect(const struct host *host, virConnectPtr *ret, struct err *e);

/* ERR_SYSTEM with libvirt's last words of this thread. Returns -1. */
int kvm_fail(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Paused. The domain is transient: destroyed it is gone. */
int kvm_launch(virConnectPtr c, const char *xml, virDomainPtr *ret, struct err *e);
/* Kills the VM if it lives and frees the handle; any number of times. Removes its log. */
int kvm_end(virDomainPtr *domain, struct err *e);
/* A domain of ours, by its metadata: destroys it. Adds the number. */
int kvm_sweep(const struct host *host, unsigned *removed, struct err *e);
/* Where libvirt keeps QEMU's log and process id of a domain. The caller frees. */
char *kvm_log_path(const char *name);
/* Removes the log of a VM that is gone, or that never came to be: libvirt keeps it for ever. */
void kvm_forget(const char *name);
int kvm_pid(const char *name, pid_t *ret, struct err *e);

#endif
