/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spool.h"

#include "agent/spool-file.h"
#include "agent/spool-record.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    COMPACT_BYTES = 1 << 20, /* dead bytes that are worth a new file */
};
#define LOST_START_SKIPS (UINT64_C(1) << 32)

struct pending {
    uint64_t sequence;
    uint64_t offset;
    size_t size;
};

struct spool {
    char *folder;
    char *path;
    uint8_t uuid[16];
    char uuid_text[SPOOL_UUID_BYTES];
    bool has_uuid;
    bool has_start; /* a START record was found */
    bool renamed;   /* the file is new, and its name may not be on disk yet */
    char *damage;

    pthread_mutex_t mutex; /* over all below; never held during a write or a sync */
    int fd;
    uint64_t end;            /* changed by the appending thread alone */
    uint64_t next_sequence;  /* likewise */
    struct pending *pending; /* ascending */
    size_t n_pending, capacity;
    size_t live_bytes;
    uint64_t *commits; /* forgotten, but not written down yet */
    size_t n_commits;
};

static void write_uuid_text(struct spool *s)
{
    const uint8_t *u = s->uuid;
    snprintf(s->uuid_text, sizeof s->uuid_text,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
             u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    s->has_uuid = true;
}

/* RFC 4122, version 4: 122 random bits. */
static int draw_uuid(struct spool *s, struct err *e)
{
    if (getrandom(s->uuid, sizeof s->uuid, 0) != (ssize_t)sizeof s->uuid)
        return err_system(e, errno, "cannot draw the spool's UUID");
    s->uuid[6] = (uint8_t)((s->uuid[6] & 0x0f) | 0x40);
    s->uuid[8] = (uint8_t)((s->uuid[8] & 0x3f) | 0x80);
    write_uuid_text(s);
    return 0;
}

static struct spool_record record_of(const struct spool *s, enum spool_kind kind, uint64_t sequence)
{
    struct spool_record r = {.kind = kind, .sequence = sequence};
    memcpy(r.uuid, s->uuid, sizeof r.uuid);
    return r;
}

/* ---- The index ---- */

static int pending_make_room(struct spool *s, struct err *e)
{
    if (s->n_pending == SPOOL_MOST_PENDING)
        return err_set(e, ERR_SYSTEM, "%s holds %d results that no coordinator took", s->path,
                       SPOOL_MOST_PENDING);
    if (s->n_pending == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct pending *more = reallocarray(s->pending, capacity, sizeof *more);
        if (!more)
            return err_system(e, ENOMEM, "cannot index %s", s->path);
        s->pending = more;
        s->capacity = capacity;
    }
    return 0;
}

static void pending_add(struct spool *s, struct pending p)
{
    s->pending[s->n_pending++] = p;
    s->live_bytes += p.size;
}

/* The first with a sequence above `after`; n_pending when there is none. */
static size_t pending_after(const struct spool *s, uint64_t after)
{
    size_t low = 0, high = s->n_pending;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->pending[middle].sequence > after)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool pending_remove(struct spool *s, uint64_t sequence)
{
    if (sequence == 0)
        return false;
    size_t at = pending_after(s, sequence - 1);
    if (at == s->n_pending || s->pending[at].sequence != sequence)
        return false;
    s->live_bytes -= s->pending[at].size;
    s->n_pending--;
    memmove(s->pending + at, s->pending + at + 1, (s->n_pending - at) * sizeof *s->pending);
    return true;
}

/* ---- Compaction: a new file with nothing but what is pending ---- */

/* Copies record by record; `fresh` gets the new offsets. */
static int copy_records(const struct spool *s, int to, struct pending *fresh, size_t n,
                        uint64_t *ret_end, struct err *e)
{
    struct spool_record start = record_of(s, SPOOL_START, s->next_sequence);
    size_t room = SPOOL_RECORD_MOST_BYTES;
    cleanup_free uint8_t *bytes = malloc(room);
    if (!bytes)
        return err_system(e, ENOMEM, "cannot compact %s", s->path);
    uint64_t end = spool_record_size(&start);
    spool_record_write(&start, bytes);
    if (spool_pwrite(to, bytes, (size_t)end, 0) < 0)
        return err_system(e, errno, "cannot compact %s", s->path);
    for (size_t i = 0; i < n; i++) {
        if (spool_pread(s->fd, bytes, fresh[i].size, fresh[i].offset) < 0 ||
            spool_pwrite(to, bytes, fresh[i].size, end) < 0)
            return err_system(e, errno, "cannot compact %s", s->path);
        fresh[i].offset = end;
        end += fresh[i].size;
    }
    if (fsync(to) < 0)
        return err_system(e, errno, "cannot sync %s", s->path);
    *ret_end = end;
    return 0;
}

/* What was committed meanwhile is no longer in `pending` and only costs its bytes in the new file.
 */
static void switch_file(struct spool *s, int fd, const struct pending *fresh, size_t n,
                        uint64_t end)
{
    pthread_mutex_lock(&s->mutex);
    size_t from = 0;
    for (size_t i = 0; i < s->n_pending; i++) {
        while (from < n && fresh[from].sequence < s->pending[i].sequence)
            from++;
        s->pending[i].offset = fresh[from].offset;
    }
    if (s->fd >= 0)
        close(s->fd);
    s->fd = fd;
    s->end = end;
    pthread_mutex_unlock(&s->mutex);
}

/* Until the folder is synced a crash may bring the old file back, without what was appended since.
 */
static int sync_name(struct spool *s, struct err *e)
{
    if (s->renamed && fs_sync_folder_of(s->path) < 0)
        return err_system(e, errno, "cannot sync %s", s->folder);
    s->renamed = false;
    return 0;
}

/* On the appending thread. The commits known at the snapshot need no writing down after it. */
static int compact(struct spool *s, struct err *e)
{
    cleanup_free char *draft = fs_path("%s/records.new", s->folder);
    pthread_mutex_lock(&s->mutex);
    size_t n = s->n_pending;
    size_t n_commits = s->n_commits;
    cleanup_free struct pending *fresh = calloc(n ? n : 1, sizeof *fresh);
    if (fresh && n > 0)
        memcpy(fresh, s->pending, n * sizeof *fresh);
    pthread_mutex_unlock(&s->mutex);
    if (!fresh)
        return err_system(e, ENOMEM, "cannot compact %s", s->path);
    cleanup_close int fd = open(draft, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot make %s", draft);
    uint64_t end = 0;
    if (copy_records(s, fd, fresh, n, &end, e) < 0 ||
        (rename(draft, s->path) < 0 && err_system(e, errno, "cannot replace %s", s->path) < 0)) {
        unlink(draft);
        return -1;
    }
    switch_file(s, steal_fd(&fd), fresh, n, end);
    pthread_mutex_lock(&s->mutex);
    s->n_commits -= n_commits;
    memmove(s->commits, s->commits + n_commits, s->n_commits * sizeof *s->commits);
    pthread_mutex_unlock(&s->mutex);
    s->renamed = true;
    return sync_name(s, e);
}

static bool is_worth_compacting(struct spool *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t dead = s->end - s->live_bytes;
    bool worth = dead > COMPACT_BYTES && dead > s->live_bytes;
    pthread_mutex_unlock(&s->mutex);
    return worth;
}

/* ---- Opening ---- */

static int note_record(void *arg, const struct spool_record *r, uint64_t offset, struct err *e)
{
    struct spool *s = arg;
    if (!s->has_uuid) {
        memcpy(s->uuid, r->uuid, sizeof s->uuid);
        write_uuid_text(s);
    }
    /* Bytes of a guest's log within a damaged record may look like one, but not with our UUID. */
    if (memcmp(r->uuid, s->uuid, sizeof s->uuid) != 0)
        return 0;
    if (r->kind == SPOOL_COMMITTED) {
        pending_remove(s, r->sequence);
        return 0;
    }
    if (r->kind == SPOOL_START) {
        s->has_start = true;
        if (r->sequence > s->next_sequence)
            s->next_sequence = r->sequence;
        return 0;
    }
    uint64_t last = s->n_pending ? s->pending[s->n_pending - 1].sequence : 0;
    if (r->sequence <= last || r->sequence == UINT64_MAX)
        return 0;
    if (r->sequence >= s->next_sequence)
        s->next_sequence = r->sequence + 1;
    if (pending_make_room(s, e) < 0)
        return -1;
    pending_add(s, (struct pending){r->sequence, offset, spool_record_size(r)});
    return 0;
}

static int read_file_at(void *file, uint64_t offset, void *to, size_t length, struct err *e)
{
    const struct spool *s = file;
    if (spool_pread(s->fd, to, length, offset) < 0)
        return err_system(e, errno, "cannot read %s", s->path);
    return 0;
}

/* For people who may want to see what became of it. */
static void keep_damaged(struct spool *s, const char *what)
{
    cleanup_free char *copy =
        fs_path("%s/damaged-%" PRId64, s->folder, clock_realtime_ns() / NS_PER_S);
    bool kept = link(s->path, copy) == 0;
    s->damage = fs_path("%s: %s%s%s", s->path, what, kept ? "; kept as " : "", kept ? copy : "");
}

/* A torn tail was never sent, a damaged one may have been: the sequences that its bytes could have
 * borne are left out, and the coordinator names the gap. Without the START record nobody knows how
 * many were used and committed before the file was last compacted: far more are left out than any
 * agent comes to use. */
static void skip_sequences(struct spool *s, const struct spool_scan *scan)
{
    const uint64_t least_bytes = SPOOL_RECORD_HEAD_BYTES + SPOOL_RECORD_SUM_BYTES;
    if (scan->torn_bytes > 0)
        s->next_sequence += scan->torn_bytes / least_bytes + 1;
    if (!s->has_start)
        s->next_sequence += LOST_START_SKIPS;
}

static int repair(struct spool *s, const struct spool_scan *scan, struct err *e)
{
    if (scan->damaged_bytes == 0 && scan->torn_bytes == 0)
        return 0;
    cleanup_free char *what = NULL;
    if (!s->has_uuid)
        what =
            fs_path("no good record in %" PRIu64 " bytes; the spool begins anew", scan->torn_bytes);
    else if (scan->damaged_bytes > 0)
        what =
            fs_path("%" PRIu64 " bytes from offset %" PRIu64 " are damaged; what they held is lost",
                    scan->damaged_bytes, scan->damaged_at);
    else
        what = fs_path("the last %" PRIu64 " bytes are an incomplete record and are dropped",
                       scan->torn_bytes);
    keep_damaged(s, what);
    if (s->has_uuid)
        skip_sequences(s, scan);
    else if (draw_uuid(s, e) < 0)
        return -1;
    return compact(s, e);
}

static int load(struct spool *s, struct err *e)
{
    struct stat st;
    if (fstat(s->fd, &st) < 0)
        return err_system(e, errno, "cannot read %s", s->path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is not a regular file", s->path);
    if (st.st_size == 0)
        return draw_uuid(s, e) < 0 ? -1 : compact(s, e);
    struct spool_scan scan = {.found = note_record, .arg = s};
    if (spool_scan(&scan, read_file_at, s, (uint64_t)st.st_size, e) < 0)
        return -1;
    s->end = scan.end;
    return repair(s, &scan, e);
}

static int open_steps(struct spool *s, const char *folder, struct err *e)
{
    s->folder = fs_path("%s", folder);
    s->path = fs_path("%s/records", folder);
    s->commits = calloc(SPOOL_MOST_PENDING, sizeof *s->commits);
    if (!s->commits)
        return err_system(e, ENOMEM, "cannot open %s", folder);
    if (fs_make_dirs(folder, 0700, e) < 0)
        return -1;
    s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (s->fd < 0)
        return err_system(e, errno, "cannot open %s", s->path);
    if (load(s, e) < 0)
        return -1;
    spool_reserve_make(s->folder);
    return 0;
}

static void spool_free(struct spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->mutex);
    free(s->folder);
    free(s->path);
    free(s->damage);
    free(s->pending);
    free(s->commits);
    free(s);
}

int spool_open(const char *folder, struct spool **ret, struct err *e)
{
    struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "cannot open the spool");
    s->fd = -1;
    s->next_sequence = 1;
    pthread_mutex_init(&s->mutex, NULL);
    if (open_steps(s, folder, e) < 0) {
        spool_free(s);
        return err_prefix(e, "spool");
    }
    *ret = s;
    return 0;
}

void spool_close(struct spool **s)
{
    if (!*s)
        return;
    /* Nothing is lost without this; it spares the coordinator what it has. */
    cleanup_err struct err e = ERR_INIT;
    if ((*s)->n_commits > 0 && compact(*s, &e) < 0)
        log_warning("%s", err_text(&e));
    spool_free(*s);
    *s = NULL;
}

/* ---- Facts ---- */

const char *spool_uuid(const struct spool *s)
{
    return s->uuid_text;
}

const char *spool_damage(const struct spool *s)
{
    return s->damage;
}

uint64_t spool_next_sequence(struct spool *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t next = s->next_sequence;
    pthread_mutex_unlock(&s->mutex);
    return next;
}

size_t spool_pending(struct spool *s)
{
    pthread_mutex_lock(&s->mutex);
    size_t n = s->n_pending;
    pthread_mutex_unlock(&s->mutex);
    return n;
}

uint64_t spool_newest(struct spool *s)
{
    pthread_mutex_lock(&s->mutex);
    uint64_t newest = s->n_pending ? s->pending[s->n_pending - 1].sequence : 0;
    pthread_mutex_unlock(&s->mutex);
    return newest;
}

/* ---- Appending ---- */

static int encode(Plimsoll__Result *result, uint8_t **ret, size_t *ret_length, struct err *e)
{
    Plimsoll__Envelope envelope = PLIMSOLL__ENVELOPE__INIT;
    envelope.kind_case = PLIMSOLL__ENVELOPE__KIND_RESULT;
    envelope.result = result;
    return frame_encode(&envelope.base, ret, ret_length, e);
}

/* One write and one sync; what did not get through is cut off again. */
static int write_synced(struct spool *s, const uint8_t *bytes, size_t length, struct err *e)
{
    if (spool_pwrite(s->fd, bytes, length, s->end) == 0 && fdatasync(s->fd) == 0)
        return 0;
    int saved = errno;
    if (ftruncate(s->fd, (off_t)s->end) < 0)
        log_error("%s: cannot cut off a failed write: %s", s->path, strerrordesc_np(errno));
    return err_system(e, saved, "cannot write %zu bytes to %s", length, s->path);
}

static bool is_full(const struct err *e)
{
    return e->errnum == ENOSPC || e->errnum == EDQUOT;
}

static int write_or_spend(struct spool *s, const uint8_t *bytes, size_t length, struct err *e)
{
    cleanup_err struct err first = ERR_INIT;
    if (write_synced(s, bytes, length, &first) == 0)
        return 0;
    if (!is_full(&first) || !spool_reserve_spend(s->folder))
        return err_move(e, &first);
    return write_synced(s, bytes, length, e);
}

/* The commits that are due, then the result. */
static uint8_t *build(struct spool *s, const struct spool_record *result, size_t n_commits,
                      size_t *ret_length)
{
    struct spool_record commit = record_of(s, SPOOL_COMMITTED, 0);
    size_t each = spool_record_size(&commit);
    size_t length = n_commits * each + spool_record_size(result);
    uint8_t *bytes = malloc(length);
    if (!bytes)
        return NULL;
    for (size_t i = 0; i < n_commits; i++) {
        commit.sequence = s->commits[i];
        spool_record_write(&commit, bytes + i * each);
    }
    spool_record_write(result, bytes + n_commits * each);
    *ret_length = length;
    return bytes;
}

static int append_frame(struct spool *s, const uint8_t *frame, size_t frame_length, struct err *e)
{
    struct spool_record record = record_of(s, SPOOL_RESULT, s->next_sequence);
    record.payload = frame;
    record.payload_length = frame_length;
    size_t length = 0;
    pthread_mutex_lock(&s->mutex);
    /* Before the write: a result that is on disk must not be called lost. */
    int full = pending_make_room(s, e);
    size_t n_commits = s->n_commits;
    cleanup_free uint8_t *bytes = full ? NULL : build(s, &record, n_commits, &length);
    pthread_mutex_unlock(&s->mutex);
    if (full)
        return -1;
    if (!bytes)
        return err_system(e, ENOMEM, "cannot append to %s", s->path);
    if (write_or_spend(s, bytes, length, e) < 0)
        return -1;
    size_t size = spool_record_size(&record);
    struct pending p = {record.sequence, s->end + length - size, size};
    pthread_mutex_lock(&s->mutex);
    pending_add(s, p);
    s->end += length;
    s->next_sequence++;
    s->n_commits -= n_commits;
    memmove(s->commits, s->commits + n_commits, s->n_commits * sizeof *s->commits);
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

int spool_append(struct spool *s, Plimsoll__Result *result, struct err *e)
{
    cleanup_err struct err compacting = ERR_INIT;
    if (is_worth_compacting(s) && compact(s, &compacting) < 0)
        log_warning("%s", err_text(&compacting));
    Plimsoll__Result named = *result;
    named.spool = s->uuid_text;
    named.sequence = s->next_sequence;
    cleanup_free uint8_t *frame = NULL;
    size_t length = 0;
    if (sync_name(s, e) < 0 || encode(&named, &frame, &length, e) < 0 ||
        append_frame(s, frame, length, e) < 0)
        return err_prefix(e, "spool");
    result->sequence = named.sequence;
    spool_reserve_make(s->folder);
    return 0;
}

/* ---- Reading and forgetting ---- */

/* With the mutex held. */
static int read_pending(struct spool *s, const struct pending *p, Plimsoll__Envelope **ret,
                        struct err *e)
{
    cleanup_free uint8_t *bytes = malloc(p->size);
    if (!bytes)
        return err_system(e, ENOMEM, "cannot read %s", s->path);
    if (spool_pread(s->fd, bytes, p->size, p->offset) < 0)
        return err_system(e, errno, "cannot read %s", s->path);
    struct spool_record r;
    size_t size = 0;
    if (spool_record_read(bytes, p->size, &r, &size) != 1 || r.sequence != p->sequence)
        return err_set(e, ERR_INPUT, "%s: the record at offset %" PRIu64 " is damaged", s->path,
                       p->offset);
    ProtobufCMessage *message = NULL;
    if (frame_decode(&plimsoll__envelope__descriptor, r.payload, r.payload_length, &message, e) < 0)
        return -1;
    *ret = (Plimsoll__Envelope *)message;
    return 0;
}

int spool_read(struct spool *s, uint64_t after, Plimsoll__Envelope **ret, uint64_t *ret_sequence,
               struct err *e)
{
    int failed = 0;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        size_t at = pending_after(s, after);
        if (at == s->n_pending) {
            failed = err_set(e, ERR_NOT_FOUND, "%s has no further result", s->path);
            break;
        }
        struct pending p = s->pending[at];
        cleanup_err struct err one = ERR_INIT;
        failed = read_pending(s, &p, ret, &one);
        if (!failed) {
            *ret_sequence = p.sequence;
            break;
        }
        if (one.errnum == EIO) {
            /* A sector that cannot be read now: it stays for a later welcome, the others go on. */
            log_error("result %" PRIu64 " waits: %s", p.sequence, err_text(&one));
            after = p.sequence;
            continue;
        }
        if (one.code == ERR_SYSTEM) {
            err_move(e, &one);
            break;
        }
        /* It will not get better; the coordinator names the gap. */
        log_error("result %" PRIu64 " is lost: %s", p.sequence, err_text(&one));
        pending_remove(s, p.sequence);
    }
    pthread_mutex_unlock(&s->mutex);
    return failed;
}

void spool_commit(struct spool *s, const char *uuid, uint64_t sequence)
{
    if (strcmp(uuid, s->uuid_text) != 0)
        return;
    pthread_mutex_lock(&s->mutex);
    /* One that finds no room is sent again after a restart, and committed again. */
    if (pending_remove(s, sequence) && s->n_commits < SPOOL_MOST_PENDING)
        s->commits[s->n_commits++] = sequence;
    pthread_mutex_unlock(&s->mutex);
}
