/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/guest/kvm-domain.h"

#include "proto/settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kvm_domain_from_section(struct kvm_domain *d, const Plimsoll__Section *section)
{
    d->machine = settings_text(section, "machine");
    d->cpu_model = settings_text(section, "cpu_model");
    d->memory_bytes = settings_integer(section, "memory", 0);
    d->tb_cache_bytes = settings_integer(section, "tb_cache", 0);
    d->disk_cache = settings_text(section, "disk_cache");
    d->disk_aio = settings_text(section, "disk_aio");
    const Plimsoll__Strings *devices = settings_list(section, "devices");
    for (size_t i = 0; devices && i < devices->n_item; i++) {
        d->video |= strcmp(devices->item[i], "video") == 0;
        d->audio |= strcmp(devices->item[i], "audio") == 0;
        d->usb |= strcmp(devices->item[i], "usb") == 0;
    }
}

/* An attribute's or element's text: paths may hold anything. */
static void put_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", f);
            break;
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '\'':
            fputs("&apos;", f);
            break;
        default:
            fputc(*text, f);
        }
    }
}

/* <BEFORE>TEXT<AFTER>, with the text escaped. */
static void put(FILE *f, const char *before, const char *text, const char *after)
{
    fputs(before, f);
    put_text(f, text);
    fputs(after, f);
}

static void put_identity(FILE *f, const struct kvm_domain *d)
{
    put(f, "  <name>", d->name, "</name>\n");
    put(f,
        "  <metadata>\n"
        "    <plimsoll:agent xmlns:plimsoll='" KVM_METADATA_URI "' id='",
        d->agent_id, "'/>\n  </metadata>\n");
}

static void put_machine(FILE *f, const struct kvm_domain *d)
{
    fprintf(f, "  <memory unit='b'>%" PRId64 "</memory>\n  <vcpu>1</vcpu>\n", d->memory_bytes);
    if (d->cpu >= 0)
        fprintf(f,
                "  <cputune>\n    <vcpupin vcpu='0' cpuset='%d'/>\n"
                "    <emulatorpin cpuset='%d'/>\n  </cputune>\n",
                d->cpu, d->cpu);
    put(f, "  <os>\n    <type arch='x86_64' machine='", d->machine, "'>hvm</type>\n");
    put(f, "    <kernel>", d->kernel, "</kernel>\n");
    put(f, "    <initrd>", d->initrd, "</initrd>\n");
    put(f, "    <cmdline>", d->command_line, "</cmdline>\n  </os>\n");
    fputs("  <features>\n    <acpi/>\n    <apic/>\n", f);
    if (!d->kvm && d->tb_cache_bytes)
        fprintf(f, "    <tcg>\n      <tb-cache unit='b'>%" PRId64 "</tb-cache>\n    </tcg>\n",
                d->tb_cache_bytes);
    put(f, "  </features>\n  <cpu mode='", d->cpu_model, "'/>\n  <clock offset='utc'/>\n");
    /* A guest that ends in any way has ended: the trial must see that, not a second boot. */
    fputs("  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>destroy</on_reboot>\n"
          "  <on_crash>destroy</on_crash>\n",
          f);
}

/* The backing chain is spelled out, so that nothing probes the guest's disk for formats. */
static void put_disk(FILE *f, const struct kvm_domain *d)
{
    if (!d->overlay)
        return;
    put(f, "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' cache='",
        d->disk_cache, "'");
    put(f, " io='", d->disk_aio, "'/>\n");
    put(f, "      <source file='", d->overlay, "'/>\n");
    put(f, "      <backingStore type='file'>\n        <format type='raw'/>\n        <source file='",
        d->backing, "'/>\n        <backingStore/>\n      </backingStore>\n");
    fputs("      <target dev='vda' bus='virtio'/>\n    </disk>\n", f);
}

static void put_lines(FILE *f, const struct kvm_domain *d)
{
    put(f, "    <serial type='file'>\n      <source path='", d->console_path,
        "'/>\n      <target port='0'/>\n    </serial>\n");
    put(f, "    <serial type='unix'>\n      <source mode='bind' path='", d->early_path,
        "'/>\n      <target port='1'/>\n    </serial>\n");
    put(f, "    <channel type='unix'>\n      <source mode='bind' path='", d->channel_path,
        "'/>\n      <target type='virtio' name='plimsoll.0'/>\n    </channel>\n");
}

static void put_network(FILE *f, const struct kvm_domain *d)
{
    if (!d->bridge)
        return;
    put(f, "    <interface type='bridge'>\n      <source bridge='", d->bridge, "'/>\n");
    put(f, "      <target dev='", d->link, "'/>\n      <model type='virtio'/>\n    </interface>\n");
}

/* libvirt adds what is not refused. The audio back end is none: the card is emulated, the host has
 * no sound. */
static void put_extras(FILE *f, const struct kvm_domain *d)
{
    fputs(d->usb ? "    <controller type='usb' index='0' model='piix3-uhci'/>\n"
                   "    <controller type='usb' index='1' model='ehci'/>\n"
                 : "    <controller type='usb' index='0' model='none'/>\n",
          f);
    fputs(d->video ? "    <video>\n      <model type='cirrus'/>\n    </video>\n"
                   : "    <video>\n      <model type='none'/>\n    </video>\n",
          f);
    if (d->audio)
        fputs("    <sound model='ich6'/>\n    <audio id='1' type='none'/>\n", f);
    fputs("    <memballoon model='none'/>\n", f);
}

char *kvm_domain_xml(const struct kvm_domain *d)
{
    char *text = NULL;
    size_t length = 0;
    FILE *f = open_memstream(&text, &length);
    if (!f)
        abort();
    fprintf(f, "<domain type='%s'>\n", d->kvm ? "kvm" : "qemu");
    put_identity(f, d);
    put_machine(f, d);
    fputs("  <devices>\n", f);
    put_disk(f, d);
    put_lines(f, d);
    put_network(f, d);
    put_extras(f, d);
    /* QEMU as root, and no file changes its owner: with any other label libvirt would chown the
     * image's disk and leave it so. */
    fputs("  </devices>\n"
          "  <seclabel type='static' model='dac' relabel='no'>\n    <label>+0:+0</label>\n"
          "  </seclabel>\n</domain>\n",
          f);
    if (fclose(f) != 0)
        abort();
    return text;
}
