/* SPDX-License-Identifier: GPL-3.0-or-later */
/* report: written by a worker into a file without a name, pulled by the client slice by slice. */
#include "common/cleanup.h"
#include "coordinator/clients/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static void drop(struct blob *b)
{
    close(b->fd);
    b->owner->blobs--;
    *b = (struct blob){.fd = -1};
}

void blobs_drop(struct client *c)
{
    for (size_t i = 0; i < MOST_BLOBS; i++)
        if (c->all->blobs[i].number && c->all->blobs[i].owner == c)
            drop(&c->all->blobs[i]);
}

/* ---- Slices ---- */

static ssize_t read_slice(const struct blob *b, uint64_t offset, uint8_t *data)
{
    size_t wanted = b->bytes - offset < SLICE_BYTES ? (size_t)(b->bytes - offset) : SLICE_BYTES;
    size_t got = 0;
    while (got < wanted) {
        ssize_t n = pread(b->fd, data + got, wanted - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* The last slice ends the blob. */
static void send_slice(struct client *c, uint32_t request, struct blob *b, uint64_t offset)
{
    cleanup_free uint8_t *data = memory_need(malloc(SLICE_BYTES));
    ssize_t length = read_slice(b, offset, data);
    if (length < 0) {
        client_fail(c, request, EXIT_NO_ANSWER, "the report cannot be read back");
        drop(b);
        return;
    }
    Plimsoll__Blob slice = PLIMSOLL__BLOB__INIT;
    slice.blob = b->number;
    slice.offset = offset;
    slice.total = b->bytes;
    slice.data.data = data;
    slice.data.len = (size_t)length;
    slice.last = offset + (uint64_t)length == b->bytes;
    slice.exit_code = b->exit_code;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BLOB;
    m.blob = &slice;
    if (client_answer(c, &m, request) == 0 && slice.last)
        drop(b);
}

static struct blob *find(struct client *c, uint64_t number)
{
    for (size_t i = 0; i < MOST_BLOBS; i++) {
        struct blob *b = &c->all->blobs[i];
        if (number && b->number == number && b->owner == c)
            return b;
    }
    return NULL;
}

void request_slice(struct client *c, uint32_t request, const Plimsoll__Slice *ask)
{
    struct blob *b = find(c, ask->blob);
    if (!b || ask->offset > b->bytes)
        client_fail(c, request, EXIT_WRONG, "there is no such report, or it has ended");
    else
        send_slice(c, request, b, ask->offset);
}

/* ---- The report ---- */

/* Beside the store, where there is room for as much; a file there has no name either. */
static int make_file(const char *store_path, struct err *e)
{
    cleanup_free char *folder = memory_text(store_path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? err_system(e, errno, "cannot make a temporary file") : fd;
}

static int write_report(struct job *job, int fd, struct err *e)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    cleanup_file FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
    if (!out) {
        if (copy >= 0)
            close(copy);
        return err_system(e, errno, "cannot write a report");
    }
    struct report_verdict verdict = {0};
    if (report_write(job->client->all->store_path, job->campaign, (enum report_format)job->format,
                     out, &verdict, e) < 0)
        return -1;
    if (fflush(out) != 0)
        return err_system(e, errno, "cannot write a report");
    job->exit_code = (uint32_t)verdict.exit_code;
    return 0;
}

static void run_report(struct job *job)
{
    struct stat st;
    cleanup_close int fd = make_file(job->client->all->store_path, &job->error);
    if (fd < 0 || write_report(job, fd, &job->error) < 0)
        return;
    if (fstat(fd, &st) < 0) {
        err_system(&job->error, errno, "cannot write a report");
        return;
    }
    job->bytes = (uint64_t)st.st_size;
    job->fd = steal_fd(&fd);
}

static struct blob *find_free(struct client *c)
{
    if (c->blobs >= MOST_BLOBS_OF_A_CLIENT || client_share_of_key(c).blobs >= MOST_BLOBS_OF_A_KEY)
        return NULL;
    for (size_t i = 0; i < MOST_BLOBS; i++)
        if (c->all->blobs[i].number == 0)
            return &c->all->blobs[i];
    return NULL;
}

static void keep_report(struct job *job)
{
    struct client *c = job->client;
    struct blob *b = find_free(c);
    if (!b) {
        client_fail(c, job->request, EXIT_NO_ANSWER, "too many reports are being fetched");
        return;
    }
    *b = (struct blob){.number = ++c->all->next_blob,
                       .owner = c,
                       .fd = steal_fd(&job->fd),
                       .bytes = job->bytes,
                       .exit_code = job->exit_code};
    c->blobs++;
    send_slice(c, job->request, b, 0);
}

static void finish_report(struct job *job)
{
    if (job->error.code != ERR_NONE)
        client_fail_with(job->client, job->request, &job->error);
    else if (job->client->session)
        keep_report(job);
    job_free(job);
}

void request_report(struct client *c, uint32_t request, const Plimsoll__Report *ask)
{
    enum report_format format;
    cleanup_err struct err e = ERR_INIT;
    if (report_format_parse(ask->format, &format, &e) < 0) {
        client_fail_with(c, request, &e);
        return;
    }
    struct job *job = job_new(c, request);
    if (!job)
        return;
    job->campaign = memory_text(ask->campaign);
    job->format = (int)format;
    job_start(job, run_report, finish_report);
}
