/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/keys.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <ctype.h>
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

int key_line_value(const char *line, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0)
        return 0;
    line += n + strspn(line + n, " \t");
    if (*line++ != '=')
        return -1;
    line += strspn(line, " \t");
    if (*line++ != '"')
        return -1;
    size_t length = strcspn(line, "\"");
    if (length == 0 || length >= size || line[length] != '"')
        return -1;
    const char *rest = line + length + 1;
    if (rest[strspn(rest, " \t\r;")] != '\0')
        return -1;
    memcpy(ret, line, length);
    ret[length] = '\0';
    return (int)length;
}

/* 0 when the line is another's, -1 when it is no key. */
static int take_key(const char *line, const char *name, char ret_z85[KEY_Z85_BYTES])
{
    char value[KEY_Z85_BYTES];
    int found = key_line_value(line, name, value, sizeof value);
    if (found > 0 && !key_is_z85(value))
        found = -1;
    if (found > 0)
        memcpy(ret_z85, value, sizeof value);
    sodium_memzero(value, sizeof value);
    return found;
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
        int found = take_key(line, "public", ret->public_z85);
        if (found == 0)
            found = take_key(line, "secret", ret->secret_z85);
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

mode_t key_mode_beside(const char *path, mode_t alone)
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
    int failed = fs_write_atomic(draft, text, (size_t)length, key_mode_beside(path, 0600), e);
    sodium_memzero(text, sizeof text);
    if (failed)
        return -1;
    if (link(draft, path) < 0)
        failed = err_system(e, errno, "cannot write %s", path);
    unlink(draft);
    return failed;
}

const char *key_role_name(enum key_role role)
{
    return role == KEY_ROLE_AGENT ? "agent" : role == KEY_ROLE_CLIENT ? "client" : "none";
}
