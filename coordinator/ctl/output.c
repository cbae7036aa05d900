/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/output.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* As open(2) would have made it: mkostemp(3) lets only the owner read. */
static void give_usual_mode(int fd)
{
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0666 & ~mask);
}

static FILE *open_draft(char *draft)
{
    int fd = mkostemp(draft, O_CLOEXEC);
    if (fd < 0)
        return NULL;
    give_usual_mode(fd);
    return fdopen(fd, "w");
}

int output_open(struct output *o, const char *path, struct err *e)
{
    *o = (struct output){.path = path, .file = stdout};
    if (!path)
        return 0;
    struct stat st;
    bool replaced = stat(path, &st) < 0 || S_ISREG(st.st_mode);
    cleanup_free char *draft = replaced ? fs_path("%s.XXXXXX", path) : NULL;
    o->file = draft ? open_draft(draft) : fopen(path, "we");
    if (!o->file)
        return err_system(e, errno, "cannot write %s", path);
    o->draft = steal(draft);
    return 0;
}

int output_close(struct output *o, bool good, struct err *e)
{
    int result = 0;
    if (o->path && fclose(o->file) != 0 && good)
        result = err_system(e, errno, "cannot write %s", o->path);
    if (o->draft && result == 0 && good && rename(o->draft, o->path) < 0)
        result = err_system(e, errno, "cannot write %s", o->path);
    if (o->draft && (result < 0 || !good))
        unlink(o->draft);
    free(o->draft);
    return result;
}
