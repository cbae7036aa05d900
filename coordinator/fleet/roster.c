/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/fleet/roster.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/fleet/memory.h"

#include <stdlib.h>
#include <string.h>

struct source {
    char key[KEY_Z85_BYTES];
    char *spool;
    uint64_t next;
};

static void host_free(struct fleet_host *h)
{
    free(h->name);
    free(h->software);
    free(h->spool);
    if (h->fingerprint)
        plimsoll__fingerprint__free_unpacked(h->fingerprint, NULL);
    free(h);
}

void roster_clear(struct roster *r)
{
    for (size_t i = 0; i < r->n; i++)
        host_free(r->hosts[i]);
    for (size_t i = 0; i < r->n_sources; i++)
        free(r->sources[i].spool);
    free(r->hosts);
    free(r->sources);
    *r = (struct roster){0};
}

/* Where the name is or belongs. */
static size_t host_place(const struct roster *r, const char *name)
{
    size_t low = 0;
    size_t high = r->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(r->hosts[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct fleet_host *roster_find(const struct roster *r, const char *name)
{
    size_t at = host_place(r, name);
    return at < r->n && strcmp(r->hosts[at]->name, name) == 0 ? r->hosts[at] : NULL;
}

struct fleet_host *roster_add(struct roster *r, const char *name)
{
    struct fleet_host *h = roster_find(r, name);
    if (h)
        return h;
    if (r->n == r->capacity) {
        r->capacity = r->capacity * 2 + 16;
        r->hosts = memory_need(realloc(r->hosts, r->capacity * sizeof *r->hosts));
    }
    h = memory_need(calloc(1, sizeof *h));
    h->name = memory_need(strdup(name));
    h->software = memory_need(strdup(""));
    h->spool = memory_need(strdup(""));
    h->heard_ns = clock_monotonic_ns();
    size_t at = host_place(r, name);
    memmove(&r->hosts[at + 1], &r->hosts[at], (r->n - at) * sizeof *r->hosts);
    r->hosts[at] = h;
    r->n++;
    return h;
}

static Plimsoll__Fingerprint *copy_fingerprint(const Plimsoll__Fingerprint *f)
{
    Plimsoll__Fingerprint empty = PLIMSOLL__FINGERPRINT__INIT;
    return (Plimsoll__Fingerprint *)memory_copy(f ? &f->base : &empty.base);
}

void roster_greet(struct fleet_host *h, struct session *s, const Plimsoll__Hello *hello)
{
    h->session = s;
    h->joins++;
    h->disowned = 0;
    h->heard_ns = clock_monotonic_ns();
    h->gone = false;
    h->idle_beats = 0;
    h->stage[0] = '\0';
    h->running = hello->running ? hello->running->lease : 0;
    h->spool_end = hello->next_sequence;
    memory_set(&h->software, hello->software);
    memory_set(&h->spool, hello->spool);
    strncpy(h->key, session_source_key(s), sizeof h->key - 1);
    if (h->fingerprint)
        plimsoll__fingerprint__free_unpacked(h->fingerprint, NULL);
    h->fingerprint = copy_fingerprint(hello->fingerprint);
    roster_identity(h->fingerprint, h->identity);
}

const char *roster_state(const struct fleet_host *h, int64_t now_ns, int64_t gone_ns)
{
    int64_t unheard_ns = now_ns - h->heard_ns;
    if (h->gone || unheard_ns >= gone_ns)
        return "gone";
    return h->session && unheard_ns < gone_ns / HOST_SILENT_PART ? "connected" : "silent";
}

static int compare_facts(const void *a, const void *b)
{
    const Plimsoll__Fact *x = *(Plimsoll__Fact *const *)a;
    const Plimsoll__Fact *y = *(Plimsoll__Fact *const *)b;
    return strcmp(x->key, y->key);
}

void roster_identity(const Plimsoll__Fingerprint *f, char ret_text[DIGEST_TEXT_BYTES])
{
    cleanup_free Plimsoll__Fact **must = memory_need(calloc(f->n_facts + 1, sizeof(void *)));
    size_t n = 0;
    for (size_t i = 0; i < f->n_facts; i++)
        if (f->facts[i]->tier == PLIMSOLL__TIER__TIER_MUST_MATCH)
            must[n++] = f->facts[i];
    if (n > 0)
        qsort(must, n, sizeof *must, compare_facts);
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_file FILE *out = memory_need(open_memstream(&text, &length));
    fprintf(out, "schema %u\n", f->schema);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s = %s\n", must[i]->key, must[i]->value);
    fflush(out);
    digest_bytes(text, length, ret_text);
}

/* ---- Spools ---- */

static struct source *find_source(const struct roster *r, const char *key, const char *spool)
{
    for (size_t i = 0; i < r->n_sources; i++)
        if (strcmp(r->sources[i].key, key) == 0 && strcmp(r->sources[i].spool, spool) == 0)
            return &r->sources[i];
    return NULL;
}

bool roster_next_sequence(const struct roster *r, const char *key, const char *spool,
                          uint64_t *ret_next)
{
    const struct source *source = find_source(r, key, spool);
    if (source)
        *ret_next = source->next;
    return source != NULL;
}

void roster_set_next_sequence(struct roster *r, const char *key, const char *spool, uint64_t next)
{
    struct source *source = find_source(r, key, spool);
    if (source) {
        if (next > source->next)
            source->next = next;
        return;
    }
    if (r->n_sources == r->sources_capacity) {
        r->sources_capacity = r->sources_capacity * 2 + 16;
        r->sources = memory_need(realloc(r->sources, r->sources_capacity * sizeof *r->sources));
    }
    source = &r->sources[r->n_sources++];
    *source = (struct source){.spool = memory_need(strdup(spool)), .next = next};
    strncpy(source->key, key, sizeof source->key - 1);
}

bool roster_drained(const struct roster *r, const struct fleet_host *h)
{
    uint64_t next = 0;
    /* The first result of a spool has the sequence 1: up to there it cannot hold anything. */
    return h->spool_end <= 1 ||
           (roster_next_sequence(r, h->key, h->spool, &next) && next >= h->spool_end);
}
