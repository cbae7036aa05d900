/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/key_table.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/key_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char suffix[] = ".key";

struct key_table {
    struct allowed_key *keys; /* by key, ascending */
    size_t n, capacity;
};

enum key_state key_state(const struct allowed_key *k, int64_t now_ns)
{
    if (k->revoked_ns != 0)
        return KEY_REVOKED;
    return now_ns >= k->expires_ns ? KEY_EXPIRED : KEY_ALLOWED;
}

static int add(struct key_table *t, const struct allowed_key *k, struct err *e)
{
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        struct allowed_key *larger = reallocarray(t->keys, capacity, sizeof *larger);
        if (!larger)
            return err_system(e, ENOMEM, "cannot read the keys");
        t->keys = larger;
        t->capacity = capacity;
    }
    t->keys[t->n++] = *k;
    return 0;
}

static int add_keys(struct key_table *t, enum key_role role, const char *name, struct key_file *f,
                    struct err *e)
{
    for (size_t i = 0; i < f->n; i++) {
        f->keys[i].role = role;
        memcpy(f->keys[i].name, name, KEY_NAME_BYTES);
        if (add(t, &f->keys[i], e) < 0)
            return -1;
    }
    return 0;
}

/* One bad file must not lock everybody else out: it is told and left out. */
static int add_file(struct key_table *t, enum key_role role, const char *folder, const char *file,
                    struct err *e)
{
    size_t length = strlen(file);
    if (length <= sizeof suffix - 1 || strcmp(file + length - (sizeof suffix - 1), suffix) != 0 ||
        file[0] == '.')
        return 0;
    char name[KEY_NAME_BYTES] = "";
    length -= sizeof suffix - 1;
    if (length < KEY_NAME_BYTES)
        snprintf(name, sizeof name, "%.*s", (int)length, file);
    cleanup_free char *path = fs_path("%s/%s", folder, file);
    cleanup_err struct err why = ERR_INIT;
    if (!key_is_name(name)) {
        log_warning("%s: the file's name is no name for a peer; it is left out", path);
        return 0;
    }
    struct key_file f;
    if (key_file_load(path, &f, &why) < 0) {
        if (why.errnum != ENOENT)
            log_warning("%s; it is left out", err_text(&why));
        return 0;
    }
    return add_keys(t, role, name, &f, e);
}

static int add_folder(struct key_table *t, enum key_role role, const char *keys, struct err *e)
{
    cleanup_free char *folder = fs_path("%s/%s", keys, key_role_folder(role));
    DIR *d = opendir(folder);
    if (!d)
        return errno == ENOENT ? 0 : err_system(e, errno, "cannot read the keys in %s", folder);
    int failed = 0;
    struct dirent *file;
    while (!failed && (file = readdir(d)))
        failed = add_file(t, role, folder, file->d_name, e);
    closedir(d);
    return failed;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct allowed_key *)a)->public_z85,
                  ((const struct allowed_key *)b)->public_z85);
}

static int by_key_role_name(const void *a, const void *b)
{
    const struct allowed_key *x = a, *y = b;
    int order = by_key(x, y);
    if (order == 0)
        order = (int)x->role - (int)y->role;
    return order ? order : strcmp(x->name, y->name);
}

/* One key has one name: of several, the first by role and name holds. */
static void drop_repeated(struct key_table *t)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct allowed_key *now = &t->keys[i];
        if (kept > 0 && by_key(&t->keys[kept - 1], now) == 0) {
            log_warning("%s `%s` and %s `%s` have one key; the second is left out",
                        key_role_name(t->keys[kept - 1].role), t->keys[kept - 1].name,
                        key_role_name(now->role), now->name);
            continue;
        }
        t->keys[kept++] = *now;
    }
    t->n = kept;
}

int key_table_load(const char *folder, struct key_table **ret, struct err *e)
{
    struct stat st;
    if (stat(folder, &st) < 0)
        return err_system(e, errno, "cannot read the keys in %s", folder);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "%s: expected a folder of keys", folder);
    struct key_table *t = calloc(1, sizeof *t);
    if (!t)
        return err_system(e, ENOMEM, "cannot read the keys");
    if (add_folder(t, KEY_ROLE_AGENT, folder, e) < 0 ||
        add_folder(t, KEY_ROLE_CLIENT, folder, e) < 0) {
        key_table_free(t);
        return -1;
    }
    if (t->n > 0)
        qsort(t->keys, t->n, sizeof *t->keys, by_key_role_name);
    drop_repeated(t);
    *ret = t;
    return 0;
}

void key_table_free(struct key_table *t)
{
    if (!t)
        return;
    free(t->keys);
    free(t);
}

const struct allowed_key *key_table_find(const struct key_table *t, const char *public_z85)
{
    struct allowed_key wanted = {0};
    if (t->n == 0 || strlen(public_z85) >= sizeof wanted.public_z85)
        return NULL;
    strncpy(wanted.public_z85, public_z85, sizeof wanted.public_z85 - 1);
    return bsearch(&wanted, t->keys, t->n, sizeof wanted, by_key);
}

size_t key_table_count(const struct key_table *t)
{
    return t->n;
}

const struct allowed_key *key_table_at(const struct key_table *t, size_t i)
{
    return &t->keys[i];
}

int64_t key_table_next_expiry_ns(const struct key_table *t, int64_t now_ns)
{
    int64_t next_ns = KEY_NEVER_NS;
    for (size_t i = 0; i < t->n; i++)
        if (key_state(&t->keys[i], now_ns) == KEY_ALLOWED && t->keys[i].expires_ns < next_ns)
            next_ns = t->keys[i].expires_ns;
    return next_ns;
}
