/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Changes to the table of keys, on disk. A running coordinator sees them at once. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A peer's file while it is changed. */
struct edit {
    const char *folder; /* of all keys */
    enum key_role role;
    const char *name;
    char *path;
    int lock_fd; /* on the role's folder */
    int64_t now_ns;
    struct key_file file;
};

static void edit_close(struct edit *d)
{
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    free(d->path);
}

static int check_words(const char *name, const char *public_z85, struct err *e)
{
    if (!key_is_name(name))
        return err_set(e, ERR_INPUT,
                       "`%s` is not a name: expected letters, digits, `.`, `_`, `-`, at most %d, "
                       "beginning with a letter or a digit",
                       name, KEY_NAME_BYTES - 1);
    if (public_z85 && !key_is_z85(public_z85))
        return err_set(e, ERR_INPUT, "not a public key: expected 40 characters of Z85");
    return 0;
}

static int load(struct edit *d, struct err *e)
{
    cleanup_err struct err why = ERR_INIT;
    if (key_file_load(d->path, &d->file, &why) < 0 && why.errnum != ENOENT)
        return err_move(e, &why);
    return 0;
}

/* Two at once would each write what the other does not know of. */
static int edit_open(struct edit *d, struct err *e)
{
    cleanup_free char *peers = fs_path("%s/%s", d->folder, key_role_folder(d->role));
    d->path = fs_path("%s/%s.key", peers, d->name);
    d->now_ns = clock_realtime_ns();
    if (fs_make_dirs(peers, key_mode_beside(peers, 0700), e) < 0)
        return -1;
    d->lock_fd = open(peers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX) < 0)
        return err_system(e, errno, "cannot lock %s", peers);
    return load(d, e);
}

static struct allowed_key *find(struct edit *d, const char *public_z85)
{
    for (size_t i = 0; i < d->file.n; i++)
        if (strcmp(d->file.keys[i].public_z85, public_z85) == 0)
            return &d->file.keys[i];
    return NULL;
}

static struct allowed_key *find_in_force(struct edit *d)
{
    for (size_t i = d->file.n; i > 0; i--)
        if (key_state(&d->file.keys[i - 1], d->now_ns) == KEY_ALLOWED)
            return &d->file.keys[i - 1];
    return NULL;
}

static int check_others(const struct edit *d, const char *public_z85, struct err *e)
{
    struct key_table *t = NULL;
    if (key_table_load(d->folder, &t, e) < 0)
        return -1;
    const struct allowed_key *other = key_table_find(t, public_z85);
    int failed = 0;
    if (other && (other->role != d->role || strcmp(other->name, d->name) != 0))
        failed = err_set(e, ERR_INPUT, "this key is known already, as %s `%s`",
                         key_role_name(other->role), other->name);
    key_table_free(t);
    return failed;
}

/* The longest known of those that are not in force makes room. */
static int make_room(struct edit *d, struct err *e)
{
    size_t i = 0;
    if (d->file.n < KEY_FILE_MOST)
        return 0;
    while (i < d->file.n && key_state(&d->file.keys[i], d->now_ns) == KEY_ALLOWED)
        i++;
    if (i == d->file.n)
        return err_set(e, ERR_INPUT, "`%s` has %d keys in force", d->name, KEY_FILE_MOST);
    memmove(&d->file.keys[i], &d->file.keys[i + 1], (d->file.n - i - 1) * sizeof d->file.keys[0]);
    d->file.n--;
    return 0;
}

static int append(struct edit *d, const char *public_z85, const char *source_z85,
                  int64_t expires_ns, struct err *e)
{
    if (make_room(d, e) < 0)
        return -1;
    struct allowed_key *k = &d->file.keys[d->file.n++];
    *k = (struct allowed_key){.expires_ns = expires_ns ? expires_ns : KEY_NEVER_NS};
    strncpy(k->public_z85, public_z85, sizeof k->public_z85 - 1);
    strncpy(k->source_z85, source_z85, sizeof k->source_z85 - 1);
    return 0;
}

/* A key that the name has already. */
static int renew(const struct edit *d, struct allowed_key *k, int64_t expires_ns, struct err *e)
{
    char time[KEY_TIME_BYTES];
    if (k->revoked_ns != 0)
        return err_set(e, ERR_INPUT,
                       "this key was revoked at %s and stays so; `coordctl keys make` makes a new "
                       "one",
                       key_time_format(k->revoked_ns, time));
    if (expires_ns == 0 && key_state(k, d->now_ns) == KEY_EXPIRED)
        return err_set(e, ERR_INPUT,
                       "this key expired at %s; say with --expires until when it is "
                       "to be allowed now",
                       key_time_format(k->expires_ns, time));
    if (expires_ns != 0)
        k->expires_ns = expires_ns;
    return 0;
}

static int allow(struct edit *d, const char *public_z85, int64_t expires_ns, struct err *e)
{
    if (edit_open(d, e) < 0 || check_others(d, public_z85, e) < 0)
        return -1;
    struct allowed_key *known = find(d, public_z85);
    if (known)
        return renew(d, known, expires_ns, e);
    if (find_in_force(d))
        return err_set(e, ERR_INPUT,
                       "%s `%s` is allowed already with another key; `coordctl keys rotate` gives "
                       "it a further one, `coordctl keys revoke` takes that one away",
                       key_role_name(d->role), d->name);
    return append(d, public_z85, public_z85, expires_ns, e);
}

static int rotate(struct edit *d, const char *public_z85, int64_t expires_ns, int64_t until_ns,
                  struct err *e)
{
    if (edit_open(d, e) < 0 || check_others(d, public_z85, e) < 0)
        return -1;
    if (find(d, public_z85))
        return err_set(e, ERR_INPUT, "%s `%s` has this key already", key_role_name(d->role),
                       d->name);
    const struct allowed_key *old = find_in_force(d);
    if (!old)
        return err_set(e, ERR_INPUT,
                       "%s `%s` has no key in force that this one could follow; `coordctl keys "
                       "allow` allows it",
                       key_role_name(d->role), d->name);
    char source[KEY_Z85_BYTES];
    memcpy(source, old->source_z85, sizeof source);
    for (size_t i = 0; i < d->file.n; i++)
        if (d->file.keys[i].expires_ns > until_ns)
            d->file.keys[i].expires_ns = until_ns;
    return append(d, public_z85, source, expires_ns, e);
}

static int mark_revoked(struct edit *d, const char *public_z85, struct err *e)
{
    if (edit_open(d, e) < 0)
        return -1;
    size_t found = 0;
    for (size_t i = 0; i < d->file.n; i++) {
        struct allowed_key *k = &d->file.keys[i];
        if (public_z85 && strcmp(k->public_z85, public_z85) != 0)
            continue;
        found++;
        if (k->revoked_ns == 0)
            k->revoked_ns = d->now_ns;
    }
    if (found == 0)
        return err_set(e, ERR_NOT_FOUND, "%s `%s` has no such key; `coordctl keys list` lists them",
                       key_role_name(d->role), d->name);
    return 0;
}

static int finish(struct edit *d, int failed, struct err *e)
{
    if (!failed)
        failed = key_file_save(d->path, &d->file, e);
    edit_close(d);
    return failed;
}

int key_table_allow(const char *folder, enum key_role role, const char *name,
                    const char *public_z85, int64_t expires_ns, struct err *e)
{
    struct edit d = {.folder = folder, .role = role, .name = name, .lock_fd = -1};
    if (check_words(name, public_z85, e) < 0)
        return -1;
    return finish(&d, allow(&d, public_z85, expires_ns, e), e);
}

int key_table_rotate(const char *folder, enum key_role role, const char *name,
                     const char *public_z85, int64_t expires_ns, int64_t until_ns, struct err *e)
{
    struct edit d = {.folder = folder, .role = role, .name = name, .lock_fd = -1};
    if (check_words(name, public_z85, e) < 0)
        return -1;
    return finish(&d, rotate(&d, public_z85, expires_ns, until_ns, e), e);
}

int key_table_revoke(const char *folder, enum key_role role, const char *name,
                     const char *public_z85, struct err *e)
{
    struct edit d = {.folder = folder, .role = role, .name = name, .lock_fd = -1};
    if (check_words(name, public_z85, e) < 0)
        return -1;
    return finish(&d, mark_revoked(&d, public_z85, e), e);
}
