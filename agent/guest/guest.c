// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guest/guest.h"

#include "agent/guest/backends.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { TEXT_BYTES = 64 << 10 };

const struct guest_ops *const *guest_backends(void)
{
    static const struct guest_ops *const all[] = {
        &guest_fake_ops,
        &guest_process_ops,
#ifdef PLIMSOLL_HAVE_LXC
        &guest_lxc_app_ops,
        &guest_lxc_ops,
#endif
#ifdef PLIMSOLL_HAVE_KVM
        &guest_kvm_ops,
#endif
        NULL,
    };
    return all;
}

const struct guest_ops *guest_backend_find(const char *name)
{
    for (const struct guest_ops *const *at = guest_backends(); *at; at++)
        if (strcmp((*at)->catalog->name, name) == 0)
            return *at;
    return NULL;
}

void guest_scope_clear(struct guest_scope *s)
{
    free(s->cgroup);
    *s = (struct guest_scope){0};
}

void guest_offer_clear(struct guest_offer *o)
{
    free(o->reason);
    free(o->accelerator);
    free(o->note);
    *o = (struct guest_offer){0};
}

/* ---- A guest ---- */

/* Counts on in a file, so that no name is ever used twice: what is left of an earlier guest must
 * not be taken for a new one. */
static int next_serial(const struct host *host, unsigned *ret, struct err *e)
{
    cleanup_free char *path = fs_path("%s/serial", host->state_folder);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return err_system(e, errno, "cannot open %s", path);
    char text[16] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return err_system(e, errno, "cannot read %s", path);
    unsigned serial = (unsigned)strtoul(text, NULL, 10) + 1;
    n = snprintf(text, sizeof(text), "%-10u\n", serial);
    if (pwrite(fd, text, (size_t)n, 0) != n)
        return err_system(e, errno, "cannot write %s", path);
    *ret = serial;
    return 0;
}

/* Nobody else may pass through a guest's folder: the sockets in it are open to the guest's own
 * user, whoever that is. */
static int make_folder(struct guest *g, struct err *e)
{
    cleanup_free char *above = fs_path("%s/guests", g->host->state_folder);
    if (fs_make_dirs(above, 0711, e) < 0)
        return -1;
    g->folder = fs_path("%s/%s", above, g->name);
    if (mkdir(g->folder, 0700) < 0)
        return err_system(e, errno, "cannot make the guest's folder %s", g->folder);
    return 0;
}

int guest_new(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
              const struct image *image, const char *accelerator, int cpu, struct guest **ret,
              struct err *e)
{
    const struct guest_ops *ops = guest_backend_find(section->plugin);
    if (!ops)
        return err_set(e, ERR_UNAVAILABLE, "this agent was built without the backend %s",
                       section->plugin);
    if (ops->catalog->needs_image && !image)
        return err_set(e, ERR_INPUT, "a guest of the backend %s needs an image", section->plugin);
    struct guest *g = calloc(1, sizeof(*g));
    if (!g)
        return err_system(e, ENOMEM, "cannot make a guest");
    g->ops = ops;
    g->host = host;
    g->stamper = stamper;
    g->section = section;
    g->image = image;
    g->accelerator = accelerator ? accelerator : "";
    g->cpu = cpu;
    if (next_serial(host, &g->serial, e) < 0) {
        free(g);
        return -1;
    }
    g->name = fs_path("pl%s-%u", host->id, g->serial);
    if (make_folder(g, e) < 0) {
        guest_free(&g);
        return -1;
    }
    *ret = g;
    return 0;
}

void guest_free(struct guest **g)
{
    struct guest *guest = *g;
    if (!guest)
        return;
    struct err e = ERR_INIT;
    if (guest->ops->destroy(guest, &e) < 0)
        log_warning("guest %s: %s", guest->name, err_text(&e));
    channel_free(&guest->channel);
    if (guest->folder && fs_remove_tree(guest->folder, &e) < 0)
        log_warning("guest %s: %s", guest->name, err_text(&e));
    err_clear(&e);
    for (char **argument = guest->argv; argument && *argument; argument++)
        free(*argument);
    free(guest->argv);
    free(guest->folder);
    free(guest->name);
    free(guest);
    *g = NULL;
}

/* ---- Texts ---- */

/* Strings on the wire are UTF-8, and a console may say anything. */
static char *printable(const char *text, size_t length)
{
    char *out = malloc(length + 1);
    if (!out)
        abort();
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\t' || (c >= ' ' && c < 127))
            out[n++] = (char)c;
        else if (c != '\r' && c != '\0')
            out[n++] = '?';
    }
    out[n] = '\0';
    return out;
}

void guest_add_text(struct guest_texts *to, const char *name, const char *text, size_t length)
{
    if (to->n == sizeof(to->items) / sizeof(*to->items))
        return;
    Plimsoll__Text *item = malloc(sizeof(*item));
    if (!item)
        return;
    size_t from = length > TEXT_BYTES ? length - TEXT_BYTES : 0;
    plimsoll__text__init(item);
    item->name = fs_path("%s", name);
    item->text = printable(text + from, length - from);
    to->items[to->n++] = item;
}

void guest_add_file(struct guest_texts *to, const char *name, const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return;
    cleanup_free char *text = malloc(TEXT_BYTES);
    off_t from = st.st_size > TEXT_BYTES ? st.st_size - TEXT_BYTES : 0;
    ssize_t n = text ? pread(fd, text, TEXT_BYTES, from) : -1;
    if (n > 0)
        guest_add_text(to, name, text, (size_t)n);
}

void guest_texts_clear(struct guest_texts *t)
{
    for (size_t i = 0; i < t->n; i++)
        plimsoll__text__free_unpacked(t->items[i], NULL);
    t->n = 0;
}
