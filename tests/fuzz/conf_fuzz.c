/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What may stand in a configuration file or a key's. */
#include "common/cleanup.h"
#include "common/conf.h"
#include "common/fs.h"
#include "proto/keys.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A key of each type; the programs' own keys are of these. */
static const struct key_row rows[] = {
    {.name = "name", .type = KEY_NAME, .required = true, .help = "n"},
    {.name = "path", .type = KEY_TEXT, .least = 1, .most = 4096, .help = "p"},
    {.name = "flag", .type = KEY_FLAG, .fallback = "false", .help = "f"},
    {.name = "cpus", .type = KEY_INTEGER, .is_list = true, .least = 0, .most = 1023, .help = "c"},
    {.name = "size", .type = KEY_SIZE, .least = 1, .most = 1 << 30, .help = "s"},
    {.name = "gone",
     .type = KEY_DURATION,
     .least = 1,
     .most = INT64_C(1000000000000000),
     .help = "d"},
    {.name = "share", .type = KEY_REAL, .least = 0, .most = 1, .help = "r"},
    {0},
};

static void want(bool holds)
{
    if (!holds)
        abort();
}

static void read_conf(const char *path)
{
    cleanup_conf struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (conf_load(path, rows, &c, &e) < 0) {
        want(!c && e.code == ERR_INPUT && *err_text(&e));
        return;
    }
    size_t n = 0;
    const char *const *cpus = conf_list(c, "cpus", &n);
    for (size_t i = 0; i < n; i++)
        want(strtol(cpus[i], NULL, 10) >= 0 && strtol(cpus[i], NULL, 10) <= 1023);
    const char *name = conf_text(c, "name");
    want(name && *name && !strchr(name, '/'));
    int64_t size = conf_integer(c, "size", 1);
    want(size >= 1 && size <= 1 << 30);
    double share = conf_real(c, "share", 0);
    want(share >= 0 && share <= 1);
}

static void read_key(const char *path)
{
    char public[KEY_Z85_BYTES] = "";
    cleanup_err struct err e = ERR_INIT;
    if (key_public_load(path, public, &e) == 0)
        want(key_is_z85(public));
    else
        want(!*public && *err_text(&e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("input", MFD_CLOEXEC);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, length, 0) != (ssize_t)length)
        abort();
    cleanup_free char *path = fs_path("/proc/self/fd/%d", fd);
    read_conf(path);
    read_key(path);
    return 0;
}
