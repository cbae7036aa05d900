/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finding images by their recipe. What is on disk is described in HACKING.md and made by
 * deploy/image. */
#include "agent/host/host.h"

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/fs.h"
#include "proto/recipe.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MANIFEST_MOST_BYTES = 4 << 20, MANIFEST_SCHEMA = 1 };

/* NULL when the manifest does not say. */
static char *manifest_text(const json_t *manifest, const char *key)
{
    const char *text = json_string_value(json_object_get(manifest, key));
    return text ? fs_path("%s", text) : NULL;
}

static int manifest_load(const char *folder, json_t **ret, struct err *e)
{
    cleanup_free char *path = fs_path("%s/manifest.json", folder);
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (fs_read(path, MANIFEST_MOST_BYTES, &text, &length, e) < 0)
        return -1;
    json_error_t wrong;
    json_t *manifest = json_loadb(text, length, JSON_REJECT_DUPLICATES, &wrong);
    if (!manifest)
        return err_set(e, ERR_UNAVAILABLE, "%s:%d: %s", path, wrong.line, wrong.text);
    json_int_t schema = json_integer_value(json_object_get(manifest, "schema"));
    if (schema != MANIFEST_SCHEMA) {
        json_decref(manifest);
        return err_set(e, ERR_UNAVAILABLE, "%s: schema is %lld, expected %d", path,
                       (long long)schema, MANIFEST_SCHEMA);
    }
    *ret = manifest;
    return 0;
}

/* The folder is named by the digest, so the two must agree: a folder copied by hand may not be what
 * its manifest says. */
static int check_digest(const struct image *i, struct err *e)
{
    const char *name = strrchr(i->folder, '/');
    if (!i->digest || strncmp(i->digest, "sha256:", 7) != 0 || !name ||
        strcmp(i->digest + 7, name + 1) != 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "%s/manifest.json: digest is %s, expected the folder's name", i->folder,
                       i->digest ? i->digest : "absent");
    return 0;
}

static char *file_if_there(const char *folder, const char *name)
{
    char *path = fs_path("%s/%s", folder, name);
    if (fs_exists(path))
        return path;
    free(path);
    return NULL;
}

static int image_load(char *folder, struct image **ret, struct err *e)
{
    struct image *i = calloc(1, sizeof *i);
    if (!i) {
        free(folder);
        return err_system(e, ENOMEM, "cannot load an image");
    }
    i->folder = folder;
    json_t *manifest = NULL;
    if (manifest_load(folder, &manifest, e) < 0) {
        image_free(&i);
        return -1;
    }
    i->digest = manifest_text(manifest, "digest");
    i->kernel_digest = manifest_text(manifest, "kernel_digest");
    json_decref(manifest);
    i->root = file_if_there(folder, "root");
    i->disk = file_if_there(folder, "disk.ext4");
    i->kernel = file_if_there(folder, "kernel");
    i->initrd = file_if_there(folder, "modules.cpio");
    int failed = check_digest(i, e);
    if (!failed && !i->root)
        failed = err_set(e, ERR_UNAVAILABLE, "image %s has no root", folder);
    if (failed)
        image_free(&i);
    else
        *ret = i;
    return failed;
}

int image_find(struct host *h, const Plimsoll__Section *recipe, struct image **ret, struct err *e)
{
    char digest[DIGEST_TEXT_BYTES];
    if (recipe_digest(recipe, digest, e) < 0)
        return err_prefix(e, "image %s", recipe->name);
    cleanup_free char *link = fs_path("%s/recipe-%s", h->images_folder, digest + 7);
    char *folder = realpath(link, NULL);
    if (!folder && errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND,
                       "image %s is not built here (%s does not exist): `deploy/image`, given the "
                       "recipe that `coordctl images PLAN` prints, builds it",
                       recipe->name, link);
    if (!folder)
        return err_system(e, errno, "cannot find image %s at %s", recipe->name, link);
    if (image_load(folder, ret, e) < 0)
        return err_prefix(e, "image %s", recipe->name);
    return 0;
}

/* The first whole one, so that the answer is the same the next time. */
int image_find_any(struct host *h, struct image **ret, struct err *e)
{
    struct dirent **entries = NULL;
    int n = scandir(h->images_folder, &entries, NULL, alphasort);
    int found = -1;
    for (int i = 0; i < n; i++) {
        if (found < 0 && strlen(entries[i]->d_name) == 64)
            found = image_load(fs_path("%s/%s", h->images_folder, entries[i]->d_name), ret, NULL);
        free(entries[i]);
    }
    free(entries);
    return found == 0 ? 0 : err_set(e, ERR_NOT_FOUND, "no image is built in %s", h->images_folder);
}

void image_free(struct image **i)
{
    if (!*i)
        return;
    free((*i)->folder);
    free((*i)->digest);
    free((*i)->root);
    free((*i)->disk);
    free((*i)->kernel);
    free((*i)->initrd);
    free((*i)->kernel_digest);
    free(*i);
    *i = NULL;
}
