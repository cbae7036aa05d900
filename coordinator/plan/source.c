/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From a file to flat text: @include lines are expanded here, by rules of our own. */
#include "coordinator/plan/plan.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/lexer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_INCLUDE_DEPTH = 8, MOST_INCLUDES = 256 };

struct flattening {
    struct plan_source *source;
    struct plan_diagnostics *diagnostics;
    unsigned line; /* of the flat text, that is written next */
    unsigned n_includes;
    const char
        *open[MOST_INCLUDE_DEPTH + 1]; /* real paths of the files being read, outermost first */
};

static int add_file(struct flattening *f, const char *shown, const char *path, unsigned depth);

static void note_origin(struct flattening *f, const char *file, unsigned line)
{
    struct plan_source *s = f->source;
    s->origins = realloc(s->origins, (s->n_origins + 1) * sizeof(Plimsoll__LineOrigin *));
    Plimsoll__LineOrigin *origin = malloc(sizeof *origin);
    if (!s->origins || !origin)
        abort();
    plimsoll__line_origin__init(origin);
    origin->file = strdup(file);
    if (!origin->file)
        abort();
    origin->flat_line = f->line;
    origin->line = line;
    s->origins[s->n_origins++] = origin;
}

static int too_large(struct flattening *f, const char *file)
{
    plan_diagnose(f->diagnostics, file, 0,
                  "larger than %d KiB; a plan, with what it includes, may have at most that",
                  PLAN_MOST_BYTES >> 10);
    return -1;
}

static int add_text(struct flattening *f, const char *file, const char *text, size_t length)
{
    struct plan_source *s = f->source;
    if (length > PLAN_MOST_BYTES - s->length)
        return too_large(f, file);
    memcpy(s->text + s->length, text, length);
    s->length += length;
    s->text[s->length] = '\0';
    for (size_t i = 0; i < length; i++)
        f->line += text[i] == '\n';
    return 0;
}

/* Says in a person's words why a path cannot be a plan, before it is opened. */
static int check_path(struct flattening *f, const char *shown, const char *path)
{
    struct stat st;
    const char *wrong = NULL;
    if (stat(path, &st) < 0)
        wrong = strerrordesc_np(errno);
    else if (S_ISDIR(st.st_mode))
        wrong = "is a directory; expected a plan file";
    else if (S_ISFIFO(st.st_mode))
        wrong = "is a FIFO; expected a plan file";
    else if (!S_ISREG(st.st_mode))
        wrong = "is no regular file; expected a plan file";
    else if (st.st_size > PLAN_MOST_BYTES)
        return too_large(f, shown);
    if (!wrong)
        return 0;
    plan_diagnose(f->diagnostics, shown, 0, "%s", wrong);
    return -1;
}

/* "dir/plan" and "x" -> "dir/x": how an included file is named to a person. */
static char *beside(const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    return fs_path("%.*s%s", slash ? (int)(slash + 1 - file) : 0, file, name);
}

/* Whether `inner` is below the folder of `outer`; both are real paths. */
static bool is_below(const char *inner, const char *outer)
{
    const char *slash = strrchr(outer, '/');
    return strncmp(inner, outer, (size_t)(slash + 1 - outer)) == 0;
}

static bool has_parent_step(const char *name)
{
    for (const char *at = name; (at = strstr(at, "..")); at += 2)
        if ((at == name || at[-1] == '/') && (at[2] == '\0' || at[2] == '/'))
            return true;
    return false;
}

/* The real path, the caller's to free, or NULL after a diagnosis. Nothing is opened. */
static char *find_included(struct flattening *f, const char *file, unsigned line, const char *name,
                           unsigned depth)
{
    struct plan_diagnostics *d = f->diagnostics;
    if (name[0] == '/' || has_parent_step(name) || name[0] == '\0') {
        plan_diagnose(d, file, line,
                      "@include of \"%s\" is refused; expected a path below this file's folder, "
                      "without a leading / or ..",
                      name);
        return NULL;
    }
    cleanup_free char *joined = beside(f->open[depth], name);
    cleanup_free char *found = realpath(joined, NULL);
    if (!found) {
        plan_diagnose(d, file, line, "@include of \"%s\": %s", name, strerrordesc_np(errno));
        return NULL;
    }
    if (!is_below(found, f->open[depth])) {
        plan_diagnose(d, file, line,
                      "@include of \"%s\" is refused: the link leads out of this file's folder",
                      name);
        return NULL;
    }
    for (unsigned i = 0; i <= depth; i++) {
        if (strcmp(f->open[i], found) == 0) {
            plan_diagnose(d, file, line,
                          "@include of \"%s\" goes in a circle: that file is being read", name);
            return NULL;
        }
    }
    return steal(found);
}

static int include(struct flattening *f, const char *file, unsigned line, const char *name,
                   unsigned depth)
{
    if (depth == MOST_INCLUDE_DEPTH || ++f->n_includes > MOST_INCLUDES) {
        plan_diagnose(f->diagnostics, file, line,
                      "too many @include; expected at most %d, %d within one another",
                      MOST_INCLUDES, MOST_INCLUDE_DEPTH);
        return -1;
    }
    cleanup_free char *path = find_included(f, file, line, name, depth);
    if (!path)
        return -1;
    cleanup_free char *shown = beside(file, name);
    f->open[depth + 1] = path;
    return add_file(f, shown, path, depth + 1);
}

/* One @include, whose token `at` was just read. */
static int expand(struct flattening *f, const char *file, const struct token *at, struct lexer *l,
                  unsigned depth)
{
    struct token name = lexer_next(l);
    if (name.kind != TOKEN_STRING || name.line != at->line ||
        memchr(name.start, '\\', name.length)) {
        plan_diagnose(f->diagnostics, file, at->line, "expected @include \"FILE\" on one line");
        return -1;
    }
    cleanup_free char *text = strndup(name.start + 1, name.length - 2);
    if (!text)
        abort();
    if (include(f, file, at->line, text, depth) < 0)
        return -1;
    if (add_text(f, file, "\n", 1) < 0)
        return -1;
    note_origin(f, file, at->line);
    return 0;
}

static int flatten(struct flattening *f, const char *file, const char *text, size_t length,
                   unsigned depth)
{
    struct lexer l;
    lexer_open(&l, text, length);
    const char *copied = text;
    note_origin(f, file, 1);
    for (;;) {
        struct token t = lexer_next(&l);
        if (t.kind == TOKEN_WRONG) {
            plan_diagnose(f->diagnostics, file, t.line, "%s", l.wrong);
            return -1;
        }
        if (t.kind != TOKEN_INCLUDE && t.kind != TOKEN_END)
            continue;
        if (add_text(f, file, copied, (size_t)(t.start - copied)) < 0)
            return -1;
        if (t.kind == TOKEN_END)
            return 0;
        if (expand(f, file, &t, &l, depth) < 0)
            return -1;
        copied = l.at;
    }
}

static int add_file(struct flattening *f, const char *shown, const char *path, unsigned depth)
{
    if (check_path(f, shown, path) < 0)
        return -1;
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_err struct err e = ERR_INIT;
    if (fs_read(path, PLAN_MOST_BYTES, &text, &length, &e) < 0) {
        plan_diagnose(f->diagnostics, shown, 0, "%s", err_text(&e));
        return -1;
    }
    return flatten(f, shown, text, length, depth);
}

int plan_source_load(const char *path, struct plan_source **ret, struct plan_diagnostics *d)
{
    struct plan_source *source = calloc(1, sizeof *source);
    char *buffer = malloc(PLAN_MOST_BYTES + 1);
    if (!source || !buffer)
        abort();
    source->text = buffer;
    source->text[0] = '\0';
    struct flattening f = {.source = source, .diagnostics = d, .line = 1};
    /* A path that has no real form cannot be opened either: add_file says why. */
    cleanup_free char *real = realpath(path, NULL);
    f.open[0] = real ? real : path;
    if (add_file(&f, path, path, 0) < 0) {
        plan_source_free(&source);
        return -1;
    }
    *ret = source;
    return 0;
}

void plan_source_free(struct plan_source **s)
{
    if (!*s)
        return;
    for (size_t i = 0; i < (*s)->n_origins; i++)
        plimsoll__line_origin__free_unpacked((*s)->origins[i], NULL);
    free((*s)->origins);
    free((*s)->text);
    free(*s);
    *s = NULL;
}
