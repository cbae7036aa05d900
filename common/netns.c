/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/netns.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *netns_own(void)
{
    char text[64];
    ssize_t length = readlink("/proc/self/ns/net", text, sizeof text - 1);
    return fs_path("%.*s", length > 0 ? (int)length : 0, text);
}

/* `file` is below each entry of the folder; "": the entries themselves. */
static bool any_is(const char *folder, const char *file, const struct stat *sought)
{
    bool found = false;
    DIR *d = opendir(folder);
    struct dirent *entry;
    while (d && !found && (entry = readdir(d))) {
        cleanup_free char *path = fs_path("%s/%s%s", folder, entry->d_name, file);
        struct stat st;
        found = stat(path, &st) == 0 && st.st_dev == sought->st_dev && st.st_ino == sought->st_ino;
    }
    if (d)
        closedir(d);
    return found;
}

bool netns_is_elsewhere(const char *netns)
{
    cleanup_free char *own = netns_own();
    struct stat sought;
    unsigned long long number = 0;
    if (strcmp(netns, own) == 0 || sscanf(netns, "net:[%llu]", &number) != 1 ||
        stat("/proc/self/ns/net", &sought) < 0)
        return false;
    sought.st_ino = (ino_t)number;
    return any_is("/run/netns", "", &sought) || any_is("/proc", "/ns/net", &sought);
}
