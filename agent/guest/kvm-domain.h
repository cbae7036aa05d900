/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a VM is, as data and as libvirt's domain XML. Who launches it is another matter. */
#ifndef AGENT_GUEST_KVM_DOMAIN_H
#define AGENT_GUEST_KVM_DOMAIN_H

#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The element in a domain's metadata that says whose it is. */
#define KVM_METADATA_URI "https://plimsoll.invalid/agent/1"

struct kvm_domain {
    const char *name;
    const char *agent_id;
    bool kvm;              /* else TCG */
    const char *machine;   /* "pc", "q35" */
    const char *cpu_model; /* libvirt's mode: "maximum", "host-passthrough", "host-model" */
    int64_t memory_bytes;
    int64_t tb_cache_bytes; /* TCG's code cache */
    int cpu;                /* of the host, for the vCPU and for QEMU's own threads; -1: any */
    const char *kernel;
    const char *initrd;
    const char *command_line;
    const char *overlay; /* qcow2, on `backing`; NULL: no disk */
    const char *backing; /* raw */
    const char *disk_cache;
    const char *disk_aio;
    const char *channel_path; /* QEMU listens there for us */
    const char *console_path; /* file that takes the serial line */
    const char *early_path;   /* as channel_path, of the second serial line: the first mark */
    const char *bridge;       /* NULL: no network */
    const char *link;         /* the TAP device's name */
    bool video, audio, usb;
};

/* Fills in what the section says; everything else is left alone. Texts are borrowed from the
 * section. */
void kvm_domain_from_section(struct kvm_domain *d, const Plimsoll__Section *section);

/* The caller frees. */
char *kvm_domain_xml(const struct kvm_domain *d);

#endif
