/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const char *const accelerators[] = {"auto", "kvm", "tcg", NULL};
static const char *const machines[] = {"pc", "q35", NULL};
static const char *const cpu_models[] = {"maximum", "host-passthrough", "host-model", NULL};
static const char *const disk_caches[] = {"none",         "directsync", "writeback",
                                          "writethrough", "unsafe",     NULL};
static const char *const disk_aios[] = {"threads", "io_uring", "native", NULL};
static const char *const devices[] = {"video", "audio", "usb", NULL};

static const struct key_row keys[] = {
    CATALOG_KEY_CPUS,
    CATALOG_KEY_MEMORY("1GiB"),
    CATALOG_KEY_NETWORK,
    {.name = "accel",
     .type = KEY_CHOICE,
     .choices = accelerators,
     .fallback = "auto",
     .help = "What runs the guest's instructions; auto is KVM where the image's own kernel boots "
             "under it, else QEMU's translator TCG, whose figures say nothing about KVM"},
    {.name = "tb_cache",
     .type = KEY_SIZE,
     .host_memory = true,
     .least = INT64_C(1) << 20,
     .most = INT64_C(2) << 30,
     .fallback = "32MiB",
     .help =
         "TCG's cache of translated code, memory of the host beside the guest's; without effect "
         "under KVM"},
    {.name = "machine",
     .type = KEY_CHOICE,
     .choices = machines,
     .fallback = "pc",
     .help = "QEMU's machine type"},
    {.name = "cpu_model",
     .type = KEY_CHOICE,
     .choices = cpu_models,
     .fallback = "maximum",
     .help = "The processor the guest sees; host-passthrough and host-model need KVM"},
    {.name = "devices",
     .type = KEY_CHOICE,
     .is_list = true,
     .choices = devices,
     .fallback = "()",
     .help = "Emulated devices beside the virtio disk, channel and network: a video card, a sound "
             "card, two USB controllers"},
    {.name = "disk_cache",
     .type = KEY_CHOICE,
     .choices = disk_caches,
     .fallback = "writeback",
     .help = "How the disk uses the host's page cache"},
    {.name = "disk_aio",
     .type = KEY_CHOICE,
     .choices = disk_aios,
     .fallback = "threads",
     .help =
         "How QEMU does the disk's input and output; native needs disk_cache none or directsync"},
    {0},
};

const struct catalog_entry catalog_kvm = {
    .kind = CATALOG_BACKEND,
    .name = "kvm",
    .help = "A virtual machine of QEMU through libvirt",
    .keys = keys,
    .needs_image = true,
    .expected_ns = 6000000000,
    .expected_tcg_ns = 25000000000,
    .overhead_bytes = INT64_C(64) << 20,
    .has_accelerator = true,
    .accelerator_key = "accel",
    .ready_means = "the runner inside reported after the image's default target was reached",
};
