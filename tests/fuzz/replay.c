/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs a fuzz target once on each file of the folders named: the kept corpus as a test, without
 * clang. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_INPUT_BYTES = 4 << 20 };

static int replay_file(const char *path)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *data = NULL;
    size_t length = 0;
    if (fs_read(path, MOST_INPUT_BYTES, &data, &length, &e) < 0) {
        fprintf(stderr, "%s\n", err_text(&e));
        return -1;
    }
    /* A copy of just this size, so that a sanitizer sees each byte read beyond it. */
    cleanup_free uint8_t *exact = malloc(length);
    if (length > 0)
        memcpy(exact, data, length);
    LLVMFuzzerTestOneInput(exact, length);
    return 0;
}

/* How many regular files were run; -1: one could not be read. */
static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder) {
        perror(path);
        return -1;
    }
    int n = 0;
    struct dirent *entry;
    while (n >= 0 && (entry = readdir(folder))) {
        cleanup_free char *file = fs_path("%s/%s", path, entry->d_name);
        struct stat st;
        if (lstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= MOST_INPUT_BYTES)
            n = replay_file(file) < 0 ? -1 : n + 1;
    }
    closedir(folder);
    return n;
}

int main(int argc, char **argv)
{
    int all = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay_folder(argv[i]);
        if (n < 0)
            return 1;
        all += n;
    }
    printf("%d inputs\n", all);
    return all > 0 ? 0 : 1;
}
