/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/images.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/child.h"
#include "coordinator/ctl/options.h"
#include "coordinator/ctl/place.h"
#include "coordinator/ctl/plan_file.h"
#include "proto/recipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void images_free(struct images_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(items[i].link);
    free(items);
}

static bool is_known(const struct images_item *items, size_t n, const char *link)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(items[i].link, link) == 0)
            return true;
    return false;
}

static int add_image(const Plimsoll__Section *recipe, const char *folder, struct images_item *items,
                     size_t *n, struct err *e)
{
    char digest[DIGEST_TEXT_BYTES];
    if (recipe_digest(recipe, digest, e) < 0)
        return err_prefix(e, "image %s", recipe->name);
    char *link = fs_path("%s/recipe-%s", folder, digest + strlen("sha256:"));
    if (is_known(items, *n, link)) {
        free(link);
        return 0;
    }
    items[(*n)++] = (struct images_item){recipe, link, fs_exists(link)};
    return 0;
}

int images_of_plan(const Plimsoll__Plan *plan, struct images_item **ret, size_t *ret_n,
                   struct err *e)
{
    cleanup_free char *folder = place_images();
    struct images_item *items = calloc(plan->n_cells + 1, sizeof *items);
    size_t n = 0;
    if (!items)
        return err_set(e, ERR_SYSTEM, "out of memory");
    for (size_t i = 0; i < plan->n_cells; i++) {
        const Plimsoll__Section *image = plan->cells[i]->image;
        if (image && add_image(image, folder, items, &n, e) < 0) {
            images_free(items, n);
            return -1;
        }
    }
    *ret = items;
    *ret_n = n;
    return 0;
}

/* The words that a builder's exit status means are on standard error already. */
static int build(struct images_item *item, struct err *e)
{
    cleanup_free char *builder = NULL;
    cleanup_free char *recipe = NULL;
    if (place_image_builder(&builder, e) < 0 || recipe_text(item->recipe, &recipe, e) < 0)
        return -1;
    char *argv[] = {builder, NULL};
    int status = child_run(argv, recipe, CHILD_ERRORS_SHOWN, NULL, e);
    if (status < 0)
        return -1;
    if (status != 0)
        return err_set(e, ERR_UNAVAILABLE, "the image builder ended with status %d", status);
    item->built = fs_exists(item->link);
    return item->built
               ? 0
               : err_set(e, ERR_UNAVAILABLE, "the image builder did not make %s", item->link);
}

size_t images_build(struct images_item *items, size_t n)
{
    size_t lacking = 0;
    for (size_t i = 0; i < n; i++) {
        cleanup_err struct err e = ERR_INIT;
        if (items[i].built)
            continue;
        fprintf(stderr, "Building the image `%s`; once for all, this takes about a minute.\n",
                items[i].recipe->name);
        if (build(&items[i], &e) < 0) {
            lacking++;
            fprintf(stderr,
                    "The image `%s` cannot be built, so what needs it is not available: %s\n",
                    items[i].recipe->name, err_text(&e));
        }
    }
    return lacking;
}

/* ---- coordctl images PLAN [--build] ---- */

static int run(int argc, char **argv);

extern const struct verb verb_images;
const struct verb verb_images = {
    .name = "images",
    .arguments = "PLAN [--build]",
    .summary = "List the images a plan needs on this host, or build those that are missing",
    .help = "  --build  build what is missing (as root)\n"
            "Images are kept in $PLIMSOLL_IMAGES, else /var/lib/plimsoll/images.\n"
            "Exit code 4 while one is missing.\n",
    .run = run,
};

static int run(int argc, char **argv)
{
    bool wants_build = false;
    char **operands;
    const struct option_row rows[] = {{.name = "build", .flag = &wants_build}, {0}};
    if (options_parse(&verb_images, argc, argv, rows, 1, 1, &operands) < 0)
        return EXIT_USAGE;
    struct plan_file file;
    cleanup_err struct err e = ERR_INIT;
    int code = plan_file_read(operands[0], &file);
    struct images_item *items = NULL;
    size_t n = 0;
    if (code == EXIT_GOOD && images_of_plan(file.plan, &items, &n, &e) < 0) {
        fprintf(stderr, "coordctl images: %s\n", err_text(&e));
        code = EXIT_USAGE;
    }
    if (code == EXIT_GOOD && wants_build)
        images_build(items, n);
    for (size_t i = 0; i < n; i++) {
        printf("%s: %s%s\n", items[i].recipe->name, items[i].built ? "built, " : "missing",
               items[i].built ? items[i].link : "");
        code = items[i].built ? code : EXIT_MISSING;
    }
    images_free(items, n);
    plan_file_clear(&file);
    return code;
}
