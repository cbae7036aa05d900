/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/findings.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/ctl/place.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20 };

char *findings_path(void)
{
    const char *told = getenv("PLIMSOLL_STATE");
    if (told && *told)
        return fs_path("%s/doctor.json", told);
    cleanup_free char *state = place_state();
    return fs_path("%s/doctor.json", state);
}

static char *own(const char *text)
{
    return fs_path("%s", text ? text : "");
}

static void read_items(const json_t *backends, struct findings *ret)
{
    ret->items = calloc(json_array_size(backends) + 1, sizeof *ret->items);
    if (!ret->items)
        abort();
    size_t i;
    json_t *item;
    json_array_foreach(backends, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name)
            continue;
        ret->items[ret->n++] = (struct finding){
            .backend = own(name),
            .available = json_is_true(json_object_get(item, "available")),
            .accelerator = own(json_string_value(json_object_get(item, "accelerator"))),
            .reason = own(json_string_value(json_object_get(item, "reason"))),
        };
    }
}

int findings_load(const char *path, struct findings *ret, struct err *e)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_err struct err reading = ERR_INIT;
    if (fs_read(path, MOST_BYTES, &text, &length, &reading) < 0) {
        if (reading.errnum == ENOENT || reading.errnum == ENOTDIR)
            reading.code = ERR_NOT_FOUND;
        return err_move(e, &reading);
    }
    json_error_t wrong;
    json_t *root = json_loadb(text, length, 0, &wrong);
    const json_t *backends = json_object_get(root, "backends");
    int failed = 0;
    if (!root)
        failed = err_set(e, ERR_INPUT, "%s:%d: %s", path, wrong.line, wrong.text);
    else if (json_integer_value(json_object_get(root, "schema")) != 1 || !json_is_array(backends))
        failed = err_set(e, ERR_INPUT, "%s: expected schema 1 with a list of backends", path);
    else
        read_items(backends, ret);
    json_decref(root);
    return failed;
}

void findings_clear(struct findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].backend);
        free(f->items[i].accelerator);
        free(f->items[i].reason);
    }
    free(f->items);
    *f = (struct findings){0};
}

const struct finding *findings_of(const struct findings *f, const char *backend)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->items[i].backend, backend) == 0)
            return &f->items[i];
    return NULL;
}
