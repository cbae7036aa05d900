/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What may stand in an agent's journal of borrowed host state after a crash. Nothing is undone
 * here. */
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/dev/shm/plimsoll-fuzz-XXXXXX";

static void remove_folder(void)
{
    fs_remove_tree(folder, NULL);
}

static char *read_back(const char *path)
{
    char *text = NULL;
    size_t length = 0;
    if (fs_read(path, 64 << 20, &text, &length, NULL) < 0)
        abort();
    return text;
}

/* What the start wrote down anew. */
static char *open_once(const char *path)
{
    struct journal *j = NULL;
    if (journal_open(path, &j, NULL) < 0)
        abort();
    journal_close(&j);
    return read_back(path);
}

static char *begin(void)
{
    if (!mkdtemp(folder) || atexit(remove_folder) != 0)
        abort();
    log_open("fuzz_journal", LOG_LEVEL_ERROR);
    return fs_path("%s/journal", folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static char *path, *empty;
    if (!path) {
        path = begin();
        empty = open_once(path);
    }
    /* As it is, then as this boot's. */
    if (fs_write_atomic(path, data, length, 0600, NULL) < 0)
        abort();
    free(open_once(path));
    size_t head = strlen(empty);
    cleanup_free char *text = malloc(head + length + 1);
    memcpy(text, empty, head);
    if (length > 0)
        memcpy(text + head, data, length);
    if (fs_write_atomic(path, text, head + length, 0600, NULL) < 0)
        abort();
    cleanup_free char *once = open_once(path);
    cleanup_free char *twice = open_once(path);
    if (strcmp(once, twice) != 0)
        abort();
    return 0;
}
