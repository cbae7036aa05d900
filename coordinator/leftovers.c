/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/leftovers.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/netns.h"
#include "coordinator/child.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRY_MOST_BYTES = 16 << 10 };

/* The rest of the first line at or after `from` that begins with `key`; NULL. */
static const char *line_after(const char *from, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = from; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return line + length;
    }
    return NULL;
}

/* "PID (NAME) STATE ...". One that was killed may still wait for somebody to reap it (Z). */
static bool is_agent(long pid)
{
    static const char name[] = "(plimsoll-agent) ";
    cleanup_free char *path = fs_path("/proc/%ld/stat", pid);
    cleanup_free char *text = NULL;
    if (fs_read_kernel(path, &text, NULL) < 0)
        return false;
    const char *found = strstr(text, name);
    return found && !strchr("ZX", found[strlen(name)]);
}

/* Whether it can be cleaned only from a network namespace that is not ours. */
static bool is_elsewhere(const char *entry)
{
    const char *line = line_after(entry, "netns = ");
    cleanup_free char *netns =
        fs_path("%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
    return netns_is_elsewhere(netns);
}

/* An entry that cannot be read belongs to nobody we know to be alive; an empty one was being made.
 */
static bool is_dead(const char *path)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (fs_read(path, ENTRY_MOST_BYTES, &text, &length, NULL) < 0)
        return fs_exists(path);
    const char *pid = line_after(text, "pid = ");
    return !line_after(text, "kept = ") && !(pid && is_agent(strtol(pid, NULL, 10))) &&
           !is_elsewhere(text);
}

static bool is_id(const char *name)
{
    return strlen(name) == 8 && strspn(name, "0123456789abcdef") == 8;
}

bool leftovers_found(const char *run_folder)
{
    cleanup_free char *agents = fs_path("%s/agents", run_folder);
    DIR *folder = opendir(agents);
    bool found = false;
    for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        cleanup_free char *path = fs_path("%s/%s", agents, entry->d_name);
        found = is_id(entry->d_name) && is_dead(path);
    }
    if (folder)
        closedir(folder);
    return found;
}

void leftovers_clean(void)
{
    cleanup_free char *agent = NULL;
    cleanup_free char *said = NULL;
    cleanup_err struct err e = ERR_INIT;
    int status = child_find("plimsoll-agent", &agent, &e);
    char *argv[] = {agent, (char *)"--clean", NULL};
    if (status == 0)
        status = child_run(argv, NULL, CHILD_ERRORS_KEPT, &said, &e);
    if (said && (status != 0 || !strstr(said, "removed 0 things")))
        fputs(said, stderr);
    if (status != 0)
        fprintf(stderr, "This host could not be cleaned of earlier runs%s%s\n", e.code ? ": " : "",
                e.code ? err_text(&e) : "");
}

void leftovers_clean_if_found(void)
{
    cleanup_free char *run_folder = fs_run_folder();
    if (leftovers_found(run_folder))
        leftovers_clean();
}

bool leftovers_tell_kept(const char *run_folder, const char *agent_id, FILE *out)
{
    cleanup_free char *path = fs_path("%s/agents/%s", run_folder, agent_id);
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (!is_id(agent_id) || fs_read(path, ENTRY_MOST_BYTES, &text, &length, NULL) < 0)
        return false;
    const char *name = line_after(text, "kept = ");
    if (!name)
        return false;
    const char *state = line_after(text, "state = ");
    fputs("Failed guests that are left up:", out);
    for (; name; name = line_after(name, "kept = "))
        fprintf(out, " %.*s", (int)strcspn(name, "\n"), name);
    if (state)
        fprintf(out, "; their files are in %.*s/guests", (int)strcspn(state, "\n"), state);
    fputs(".\n`plimsoll-agent --clean` removes them, and so does the next run.\n", out);
    return true;
}
