/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/key_file.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_FILE_BYTES = 16 << 10 };

static const char time_form[] = "%Y-%m-%dT%H:%M:%SZ";

int key_time_parse(const char *text, int64_t *ret_ns, struct err *e)
{
    struct tm parts = {0};
    const char *end = strptime(text, time_form, &parts);
    int64_t seconds = end && *end == '\0' ? timegm(&parts) : -1;
    if (seconds <= 0 || seconds >= KEY_NEVER_NS / NS_PER_S)
        return err_set(e, ERR_INPUT, "`%s` is no time: expected one like 2026-12-24T10:00:00Z",
                       text);
    *ret_ns = seconds * NS_PER_S;
    return 0;
}

const char *key_time_format(int64_t time_ns, char buffer[KEY_TIME_BYTES])
{
    time_t seconds = time_ns / NS_PER_S;
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || !strftime(buffer, KEY_TIME_BYTES, time_form, &parts))
        snprintf(buffer, KEY_TIME_BYTES, "?");
    return buffer;
}

const char *key_role_folder(enum key_role role)
{
    return role == KEY_ROLE_AGENT ? "agents" : "clients";
}

/* 1: taken, 0: another line's, -1: wrong. */
static int take_key(const char *line, const char *name, char ret_z85[KEY_Z85_BYTES])
{
    char value[KEY_Z85_BYTES];
    int found = key_line_value(line, name, value, sizeof value);
    if (found > 0 && !key_is_z85(value))
        return -1;
    if (found > 0)
        memcpy(ret_z85, value, sizeof value);
    return found > 0 ? 1 : found;
}

static int take_time(const char *line, const char *name, int64_t *ret_ns)
{
    char value[KEY_TIME_BYTES];
    int found = key_line_value(line, name, value, sizeof value);
    if (found > 0 && key_time_parse(value, ret_ns, NULL) < 0)
        return -1;
    return found > 0 ? 1 : found;
}

static int begin_key(struct key_file *f, const char *line)
{
    char public_z85[KEY_Z85_BYTES];
    int found = take_key(line, "public", public_z85);
    if (found <= 0)
        return found;
    if (f->n == KEY_FILE_MOST)
        return -1;
    struct allowed_key *k = &f->keys[f->n++];
    *k = (struct allowed_key){.expires_ns = KEY_NEVER_NS};
    memcpy(k->public_z85, public_z85, sizeof public_z85);
    memcpy(k->source_z85, public_z85, sizeof public_z85);
    return 1;
}

static int take_line(struct key_file *f, const char *line)
{
    int found = begin_key(f, line);
    if (found != 0 || f->n == 0)
        return found;
    struct allowed_key *k = &f->keys[f->n - 1];
    char secret[KEY_Z85_BYTES]; /* a pair's file put here by hand: what we need of it is there */
    if ((found = take_time(line, "expires", &k->expires_ns)) == 0 &&
        (found = take_time(line, "revoked", &k->revoked_ns)) == 0 &&
        (found = take_key(line, "source", k->source_z85)) == 0) {
        found = take_key(line, "secret", secret);
        explicit_bzero(secret, sizeof secret);
    }
    return found;
}

static int parse(const char *path, char *text, struct key_file *ret, struct err *e)
{
    unsigned number = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        number++;
        line += strspn(line, " \t\r");
        if (*line != '\0' && *line != '#' && take_line(ret, line) <= 0)
            return err_set(e, ERR_INPUT,
                           "%s:%u: expected `public = \"...\"` with a key of 40 characters (Z85), "
                           "then `expires` or `revoked` with a time like 2026-12-24T10:00:00Z, or "
                           "`source` with a key; at most %d keys",
                           path, number, KEY_FILE_MOST);
    }
    if (ret->n == 0)
        return err_set(e, ERR_INPUT, "%s: `public = \"...\"` is missing", path);
    return 0;
}

int key_file_load(const char *path, struct key_file *ret, struct err *e)
{
    char *text = NULL;
    size_t length = 0;
    if (fs_read(path, MOST_FILE_BYTES, &text, &length, e) < 0)
        return -1;
    ret->n = 0;
    int failed = strlen(text) != length ? err_set(e, ERR_INPUT, "%s: not a key file", path)
                                        : parse(path, text, ret, e);
    explicit_bzero(text, length);
    free(text);
    return failed;
}

static void print_key(FILE *out, const struct allowed_key *k)
{
    char time[KEY_TIME_BYTES];
    fprintf(out, "public = \"%s\"\n", k->public_z85);
    if (strcmp(k->source_z85, k->public_z85) != 0)
        fprintf(out, "source = \"%s\"\n", k->source_z85);
    if (k->expires_ns != KEY_NEVER_NS)
        fprintf(out, "expires = \"%s\"\n", key_time_format(k->expires_ns, time));
    if (k->revoked_ns != 0)
        fprintf(out, "revoked = \"%s\"\n", key_time_format(k->revoked_ns, time));
}

int key_file_save(const char *path, const struct key_file *f, struct err *e)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return err_system(e, ENOMEM, "cannot write %s", path);
    fputs("# Who connects with these keys is who this file is named after; `coordctl help keys` "
          "tells more.\n",
          out);
    for (size_t i = 0; i < f->n; i++)
        print_key(out, &f->keys[i]);
    if (fclose(out) != 0)
        return err_system(e, ENOMEM, "cannot write %s", path);
    return fs_write_atomic(path, text, length, key_mode_beside(path, 0600), e);
}
