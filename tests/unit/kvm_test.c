/* SPDX-License-Identifier: GPL-3.0-or-later */
/* VMs without a hypervisor: what would be launched. PLIMSOLL_GOLDEN=write regenerates the expected
 * XML. */
#include "tests/cmocka_with_needs.h"

#include "agent/guest/kvm-domain.h"
#include "agent/guest/kvm-initrd.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/fs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct kvm_domain plain(void)
{
    return (struct kvm_domain){.name = "pl0123abcd-7",
                               .agent_id = "0123abcd",
                               .machine = "pc",
                               .cpu_model = "maximum",
                               .memory_bytes = INT64_C(1) << 30,
                               .tb_cache_bytes = INT64_C(32) << 20,
                               .cpu = 1,
                               .kernel = "/images/x/kernel",
                               .initrd = "/state/initrd/y.cpio",
                               .command_line = "root=/dev/vda rw console=ttyS0",
                               .overlay = "/state/guests/pl0123abcd-7/overlay.qcow2",
                               .backing = "/images/x/disk.ext4",
                               .disk_cache = "writeback",
                               .disk_aio = "threads",
                               .channel_path = "/run/plimsoll/pl0123abcd-7.sock",
                               .early_path = "/run/plimsoll/pl0123abcd-7-early.sock",
                               .console_path = "/state/guests/pl0123abcd-7/console.log"};
}

static void matches(const struct kvm_domain *d, const char *name)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *path = fs_path("%s/%s.xml", KVM_GOLDEN, name);
    cleanup_free char *xml = kvm_domain_xml(d);
    cleanup_free char *expected = NULL;
    size_t length;
    const char *mode = getenv("PLIMSOLL_GOLDEN");
    if (mode && strcmp(mode, "write") == 0)
        assert_int_equal(fs_write_atomic(path, xml, strlen(xml), 0644, &e), 0);
    if (fs_read(path, 1 << 20, &expected, &length, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_string_equal(xml, expected);
}

static void a_translated_vm_states_its_code_cache(void **unused)
{
    (void)unused;
    struct kvm_domain d = plain();
    matches(&d, "tcg");
}

static void an_accelerated_vm_has_no_code_cache_and_may_have_a_network(void **unused)
{
    (void)unused;
    struct kvm_domain d = plain();
    d.kvm = true;
    d.bridge = "pl0123abcd0";
    d.link = "pl0123abcd7";
    matches(&d, "kvm-bridge");
}

static void the_papers_devices_are_there_when_the_plan_says_so(void **unused)
{
    (void)unused;
    struct kvm_domain d = plain();
    d.video = d.audio = d.usb = true;
    matches(&d, "devices");
}

static void a_trial_boot_needs_no_disk_and_no_pinning(void **unused)
{
    (void)unused;
    struct kvm_domain d = plain();
    d.kvm = true;
    d.overlay = NULL;
    d.cpu = -1;
    matches(&d, "trial");
}

static void paths_cannot_break_out_of_their_attribute(void **unused)
{
    (void)unused;
    struct kvm_domain d = plain();
    d.overlay = "/tmp/'/><disk>&\"";
    cleanup_free char *xml = kvm_domain_xml(&d);
    assert_non_null(strstr(xml, "<source file='/tmp/&apos;/&gt;&lt;disk&gt;&amp;\"'/>"));
}

/* ---- cpio ---- */

static unsigned field(const char *header, int index)
{
    char digits[9] = "";
    memcpy(digits, header + 6 + 8 * index, 8);
    return (unsigned)strtoul(digits, NULL, 16);
}

static void an_archive_is_one_program_and_a_trailer(void **unused)
{
    (void)unused;
    char *archive = NULL;
    size_t length = 0;
    FILE *to = open_memstream(&archive, &length);
    cpio_write_program(to, "init", "12345", 5);
    fclose(to);
    /* 110 + "init\0" is 115, padded 116; 5 bytes padded 8; then 110 + 11 = 121, padded 124. */
    assert_int_equal(length, 116 + 8 + 124);
    assert_memory_equal(archive, "070701", 6);
    assert_int_equal(field(archive, 1), S_IFREG | 0755);
    assert_int_equal(field(archive, 6), 5);
    assert_int_equal(field(archive, 11), 5);
    assert_string_equal(archive + 110, "init");
    assert_memory_equal(archive + 116, "12345\0\0\0", 8);
    assert_string_equal(archive + 124 + 110, "TRAILER!!!");
    free(archive);
}

static void an_initrd_is_made_once_and_anew_for_another_runner(void **unused)
{
    (void)unused;
    cleanup_err struct err e = ERR_INIT;
    char folder[] = "/tmp/plimsoll-initrd-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct host host = {.state_folder = folder, .runner_path = fs_path("%s/runner", folder)};
    struct image image = {.digest = (char *)"sha256:00", .initrd = fs_path("%s/modules", folder)};
    cleanup_free char *first = NULL;
    cleanup_free char *again = NULL;
    cleanup_free char *other = NULL;
    assert_int_equal(fs_write_atomic(host.runner_path, "one", 3, 0755, &e), 0);
    assert_int_equal(fs_write_atomic(image.initrd, "modules", 7, 0644, &e), 0);
    assert_int_equal(kvm_initrd(&host, &image, &first, &e), 0);
    assert_int_equal(kvm_initrd(&host, &image, &again, &e), 0);
    assert_string_equal(first, again);
    cleanup_free char *bytes = NULL;
    size_t length;
    assert_int_equal(fs_read(first, 1 << 20, &bytes, &length, &e), 0);
    assert_memory_equal(bytes,
                        "modules\0"
                        "070701",
                        14); /* the next archive begins on 4 bytes */
    assert_int_equal(fs_write_atomic(host.runner_path, "two", 3, 0755, &e), 0);
    assert_int_equal(kvm_initrd(&host, &image, &other, &e), 0);
    assert_string_not_equal(first, other);
    assert_int_equal(fs_remove_tree(folder, &e), 0);
    free(host.runner_path);
    free(image.initrd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_translated_vm_states_its_code_cache),
        cmocka_unit_test(an_accelerated_vm_has_no_code_cache_and_may_have_a_network),
        cmocka_unit_test(the_papers_devices_are_there_when_the_plan_says_so),
        cmocka_unit_test(a_trial_boot_needs_no_disk_and_no_pinning),
        cmocka_unit_test(paths_cannot_break_out_of_their_attribute),
        cmocka_unit_test(an_archive_is_one_program_and_a_trailer),
        cmocka_unit_test(an_initrd_is_made_once_and_anew_for_another_runner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
