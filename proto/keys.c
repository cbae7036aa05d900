/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/keys.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

enum {
    Z85_LENGTH = KEY_Z85_BYTES - 1,
    RAW_BYTES = 32,
    MOST_FILE_BYTES = 4096,
    MOST_NAME_BYTES = 63,
};

static const char suffix[] = ".key";

bool key_is_z85(const char *text)
{
    uint8_t raw[RAW_BYTES];
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    return strlen(text) == Z85_LENGTH && strspn(text, alphabet) == Z85_LENGTH &&
           zmq_z85_decode(raw, text);
}

bool key_is_name(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strspn(text, letters);
    return length > 0 && length <= MOST_NAME_BYTES && text[length] == '\0' &&
           !strchr("._-", text[0]);
}

int key_pair_make(struct key_pair *ret, struct err *e)
{
    struct key_pair pair;
    /* One that a shell or an option parser could misread, "-", "#", "!", is drawn again. */
    do {
        if (zmq_curve_keypair(pair.public_z85, pair.secret_z85) < 0)
            return err_system(e, errno, "cannot make a key pair");
    } while (!isalnum((unsigned char)pair.public_z85[0]));
    *ret = pair;
    sodium_memzero(&pair, sizeof pair);
    return 0;
}

/* The value of `name = "Z85"` at `line`, copied; 0 when the line is another key's. */
static int take_value(const char *line, const char *name, char ret_z85[KEY_Z85_BYTES])
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0)
        return 0;
    line += n + strspn(line + n, " \t");
    if (*line++ != '=')
        return -1;
    line += strspn(line, " \t");
    if (*line++ != '"' || strcspn(line, "\"") != Z85_LENGTH)
        return -1;
    const char *rest = line + Z85_LENGTH + 1;
    if (rest[strspn(rest, " \t\r;")] != '\0')
        return -1;
    char value[KEY_Z85_BYTES] = {0};
    memcpy(value, line, Z85_LENGTH);
    if (!key_is_z85(value))
        return -1;
    memcpy(ret_z85, value, sizeof value);
    sodium_memzero(value, sizeof value);
    return 1;
}

/* Z85 itself has the letter '#', so a comment is a line that begins with one. */
static int parse(const char *path, char *text, struct key_pair *ret, struct err *e)
{
    unsigned number = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        number++;
        line += strspn(line, " \t\r");
        if (*line == '\0' || *line == '#')
            continue;
        int found = take_value(line, "public", ret->public_z85);
        if (found == 0)
            found = take_value(line, "secret", ret->secret_z85);
        if (found <= 0)
            return err_set(e, ERR_INPUT,
                           "%s:%u: expected `public = \"...\"` or `secret = \"...\"` with a key of "
                           "40 characters (Z85)",
                           path, number);
    }
    return 0;
}

static int load(const char *path, struct key_pair *ret, struct err *e)
{
    char *text = NULL;
    size_t length = 0;
    if (fs_read(path, MOST_FILE_BYTES, &text, &length, e) < 0)
        return -1;
    int failed = strlen(text) != length ? err_set(e, ERR_INPUT, "%s: not a key file", path)
                                        : parse(path, text, ret, e);
    sodium_memzero(text, length);
    free(text);
    if (!failed && !ret->public_z85[0])
        return err_set(e, ERR_INPUT, "%s: `public = \"...\"` is missing", path);
    return failed;
}

/* Of the owner alone; or root's, for a daemon that may read it through its group and never write it
 * (PostgreSQL has the same rule for the keys of its server). */
static bool is_kept_secret(const struct stat *st)
{
    mode_t others = st->st_mode & (S_IRWXG | S_IRWXO);
    return others == 0 || (others == S_IRGRP && st->st_uid == 0);
}

int key_pair_load(const char *path, struct key_pair *ret, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0 && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "there is no key %s; `coordctl keys make %s` makes one",
                       path, path);
    if (stat(path, &st) < 0)
        return err_system(e, errno, "cannot open the key %s", path);
    if (S_ISREG(st.st_mode) && !is_kept_secret(&st))
        return err_set(e, ERR_INPUT,
                       "%s: others may read this key; expected mode 0600, or root's with 0640; it "
                       "has %04o",
                       path, (unsigned)st.st_mode & 07777u);
    struct key_pair pair = {0};
    if (load(path, &pair, e) < 0)
        return -1;
    if (!pair.secret_z85[0])
        return err_set(e, ERR_INPUT, "%s: `secret = \"...\"` is missing: this is a public key",
                       path);
    char derived[KEY_Z85_BYTES];
    if (zmq_curve_public(derived, pair.secret_z85) < 0 || strcmp(derived, pair.public_z85) != 0)
        return err_set(e, ERR_INPUT, "%s: public and secret key are not a pair", path);
    *ret = pair;
    sodium_memzero(&pair, sizeof pair);
    return 0;
}

int key_public_load(const char *path, char ret_z85[KEY_Z85_BYTES], struct err *e)
{
    struct key_pair pair = {0};
    if (load(path, &pair, e) < 0)
        return -1;
    memcpy(ret_z85, pair.public_z85, KEY_Z85_BYTES);
    sodium_memzero(&pair, sizeof pair);
    return 0;
}

/* What is made beside `path` is the owner's alone, but where the folder hands its group down, as
 * the package makes /etc/plimsoll/keys for the coordinator's user, the group may read. */
static mode_t mode_beside(const char *path, mode_t alone)
{
    cleanup_free char *folder = fs_path("%s", path);
    char *slash = strrchr(folder, '/');
    struct stat st;
    if (slash)
        *slash = '\0';
    if (stat(!slash ? "." : *folder ? folder : "/", &st) < 0 || !(st.st_mode & S_ISGID))
        return alone;
    return alone | (alone & S_IRWXU & ~(mode_t)S_IWUSR) >> 3;
}

/* link(2) fails where rename(2) would replace. */
int key_pair_save(const char *path, const struct key_pair *pair, struct err *e)
{
    if (fs_exists(path))
        return err_set(e, ERR_INPUT, "%s exists and is not overwritten", path);
    char text[256];
    int length = snprintf(text, sizeof text,
                          "# A Plimsoll key pair. The secret leaves this machine never.\n"
                          "public = \"%s\"\nsecret = \"%s\"\n",
                          pair->public_z85, pair->secret_z85);
    cleanup_free char *draft = fs_path("%s.draft-%ld", path, (long)getpid());
    int failed = fs_write_atomic(draft, text, (size_t)length, mode_beside(path, 0600), e);
    sodium_memzero(text, sizeof text);
    if (failed)
        return -1;
    if (link(draft, path) < 0)
        failed = err_system(e, errno, "cannot write %s", path);
    unlink(draft);
    return failed;
}

struct entry {
    char public_z85[KEY_Z85_BYTES];
    enum key_role role;
    char name[MOST_NAME_BYTES + 1];
};

struct key_table {
    struct entry *entries; /* by key, ascending */
    size_t n, capacity;
};

const char *key_role_name(enum key_role role)
{
    return role == KEY_ROLE_AGENT ? "agent" : role == KEY_ROLE_CLIENT ? "client" : "none";
}

static const char *role_folder(enum key_role role)
{
    return role == KEY_ROLE_AGENT ? "agents" : "clients";
}

static int add(struct key_table *t, const struct entry *entry, struct err *e)
{
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        struct entry *larger = reallocarray(t->entries, capacity, sizeof *larger);
        if (!larger)
            return err_system(e, ENOMEM, "cannot read the keys");
        t->entries = larger;
        t->capacity = capacity;
    }
    t->entries[t->n++] = *entry;
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
    struct entry entry = {.role = role};
    length -= sizeof suffix - 1;
    if (length <= MOST_NAME_BYTES)
        memcpy(entry.name, file, length);
    cleanup_free char *path = fs_path("%s/%s", folder, file);
    cleanup_err struct err why = ERR_INIT;
    if (!key_is_name(entry.name)) {
        log_warning("%s: the file's name is no name for a peer; it is left out", path);
        return 0;
    }
    if (key_public_load(path, entry.public_z85, &why) < 0) {
        if (why.errnum != ENOENT)
            log_warning("%s; it is left out", err_text(&why));
        return 0;
    }
    return add(t, &entry, e);
}

static int add_folder(struct key_table *t, enum key_role role, const char *keys, struct err *e)
{
    cleanup_free char *folder = fs_path("%s/%s", keys, role_folder(role));
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
    return strcmp(((const struct entry *)a)->public_z85, ((const struct entry *)b)->public_z85);
}

static int by_key_role_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
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
        const struct entry *now = &t->entries[i];
        if (kept > 0 && by_key(&t->entries[kept - 1], now) == 0) {
            log_warning("%s `%s` and %s `%s` have one key; the second is left out",
                        key_role_name(t->entries[kept - 1].role), t->entries[kept - 1].name,
                        key_role_name(now->role), now->name);
            continue;
        }
        t->entries[kept++] = *now;
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
        qsort(t->entries, t->n, sizeof *t->entries, by_key_role_name);
    drop_repeated(t);
    *ret = t;
    return 0;
}

enum key_role key_table_find(const struct key_table *t, const char *public_z85,
                             const char **ret_name)
{
    struct entry wanted = {0};
    if (t->n == 0 || strlen(public_z85) != Z85_LENGTH)
        return KEY_ROLE_NONE;
    memcpy(wanted.public_z85, public_z85, KEY_Z85_BYTES);
    const struct entry *found = bsearch(&wanted, t->entries, t->n, sizeof wanted, by_key);
    if (!found)
        return KEY_ROLE_NONE;
    if (ret_name)
        *ret_name = found->name;
    return found->role;
}

size_t key_table_count(const struct key_table *t)
{
    return t->n;
}

enum key_role key_table_at(const struct key_table *t, size_t i, const char **ret_name,
                           const char **ret_z85)
{
    *ret_name = t->entries[i].name;
    *ret_z85 = t->entries[i].public_z85;
    return t->entries[i].role;
}

void key_table_free(struct key_table *t)
{
    if (!t)
        return;
    free(t->entries);
    free(t);
}

/* 1: this very key is allowed under this name already; -1: key or name is taken. */
static int check_free(const char *folder, enum key_role role, const char *name, const char *path,
                      const char *public_z85, struct err *e)
{
    struct key_table *t = NULL;
    if (key_table_load(folder, &t, e) < 0)
        return -1;
    const char *other = NULL;
    enum key_role found = key_table_find(t, public_z85, &other);
    int result = 0;
    if (found == role && other && strcmp(other, name) == 0)
        result = 1;
    else if (found != KEY_ROLE_NONE)
        result = err_set(e, ERR_INPUT, "this key is allowed already, as %s `%s`",
                         key_role_name(found), other);
    else if (fs_exists(path))
        result =
            err_set(e, ERR_INPUT, "%s `%s` is allowed already with another key; remove %s first",
                    key_role_name(role), name, path);
    key_table_free(t);
    return result;
}

int key_table_allow(const char *folder, enum key_role role, const char *name,
                    const char *public_z85, struct err *e)
{
    if (!key_is_name(name))
        return err_set(e, ERR_INPUT,
                       "`%s` is not a name: expected letters, digits, `.`, `_`, `-`, at most %u, "
                       "beginning with a letter or a digit",
                       name, (unsigned)MOST_NAME_BYTES);
    if (!key_is_z85(public_z85))
        return err_set(e, ERR_INPUT, "not a public key: expected 40 characters of Z85");
    cleanup_free char *peers = fs_path("%s/%s", folder, role_folder(role));
    cleanup_free char *path = fs_path("%s/%s%s", peers, name, suffix);
    if (fs_make_dirs(peers, mode_beside(peers, 0700), e) < 0)
        return -1;
    int there = check_free(folder, role, name, path, public_z85, e);
    if (there != 0)
        return there < 0 ? -1 : 0;
    char text[128];
    int length = snprintf(text, sizeof text, "# Allowed to connect as %s %s.\npublic = \"%s\"\n",
                          key_role_name(role), name, public_z85);
    return fs_write_atomic(path, text, (size_t)length, mode_beside(path, 0600), e);
}
