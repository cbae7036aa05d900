/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/schedule/schedule.h"

#include "common/cleanup.h"
#include "coordinator/plan/plan.h"
#include "coordinator/schedule/internal.h"
#include "coordinator/schedule/variants.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *section_name(const Plimsoll__Section *s)
{
    return s && s->name ? s->name : "";
}

/* The offer of the variant; the last of its name and image where the host made fewer. */
static const Plimsoll__Offer *find_offer(const Plimsoll__Prepared *p, const Plimsoll__Cell *cell,
                                         uint32_t variant)
{
    const Plimsoll__Offer *found = NULL;
    for (size_t i = 0; i < p->n_offers; i++) {
        if (strcmp(p->offers[i]->guest, section_name(cell->guest)) != 0 ||
            strcmp(p->offers[i]->image, section_name(cell->image)) != 0)
            continue;
        found = p->offers[i];
        if (variant-- == 0)
            break;
    }
    return found;
}

static Plimsoll__Prepared *copy_prepared(const Plimsoll__Prepared *p)
{
    size_t length = plimsoll__prepared__get_packed_size(p);
    cleanup_free uint8_t *packed = malloc(length + 1);
    if (!packed)
        return NULL;
    plimsoll__prepared__pack(p, packed);
    return plimsoll__prepared__unpack(NULL, length, packed);
}

static int copy_host(struct schedule *s, struct worker *to, const struct schedule_host *from,
                     const uint32_t *variants)
{
    to->name = strdup(from->name);
    to->identity = strdup(from->identity);
    to->prepared = copy_prepared(from->prepared);
    to->offers = calloc(s->plan->n_cells + 1, sizeof *to->offers);
    if (!to->name || !to->identity || !to->prepared || !to->offers)
        return -1;
    for (size_t i = 0; i < s->plan->n_cells; i++)
        to->offers[i] = find_offer(to->prepared, s->plan->cells[i], variants[i]);
    return 0;
}

static size_t group_members(const struct schedule *s, const char *identity)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_hosts; i++)
        n += strcmp(s->hosts[i].identity, identity) == 0;
    return n;
}

/* Under "any" the largest group works; of two as large, the one with the first name. */
static void choose_workers(struct schedule *s)
{
    const char *chosen = NULL;
    size_t most = 0;
    for (size_t i = 0; i < s->n_hosts; i++) {
        size_t n = group_members(s, s->hosts[i].identity);
        if (n > most) {
            most = n;
            chosen = s->hosts[i].identity;
        }
    }
    for (size_t i = 0; i < s->n_hosts; i++)
        s->hosts[i].works =
            !s->plan->any_host || (chosen && strcmp(s->hosts[i].identity, chosen) == 0);
}

static void find_alike(struct schedule *s)
{
    for (uint32_t i = 0; i < s->plan->n_cells; i++) {
        const char *guest = section_name(s->plan->cells[i]->guest);
        uint32_t first = 0;
        while (strcmp(section_name(s->plan->cells[first]->guest), guest) != 0)
            first++;
        s->like[i] = first;
    }
}

int schedule_new(const Plimsoll__Plan *plan, const struct schedule_host *hosts, size_t n_hosts,
                 struct schedule **ret, struct err *e)
{
    struct schedule *s = calloc(1, sizeof *s);
    cleanup_free uint32_t *variants = variants_of_cells(plan);
    int failed = s && variants ? 0 : -1;
    if (failed == 0) {
        s->plan = plan;
        s->seen = calloc(plan->n_cells + 1, sizeof *s->seen);
        s->like = calloc(plan->n_cells + 1, sizeof *s->like);
        s->hosts = calloc(n_hosts + 1, sizeof *s->hosts);
        failed = s->seen && s->like && s->hosts ? 0 : -1;
    }
    if (failed == 0)
        find_alike(s);
    for (size_t i = 0; i < n_hosts && failed == 0; i++) {
        s->n_hosts++;
        failed = copy_host(s, &s->hosts[i], &hosts[i], variants);
    }
    if (failed < 0) {
        schedule_free(&s);
        return err_system(e, ENOMEM, "cannot make a schedule");
    }
    choose_workers(s);
    *ret = s;
    return 0;
}

void schedule_free(struct schedule **ps)
{
    struct schedule *s = steal(*ps);
    if (!s)
        return;
    for (size_t i = 0; i < s->n_hosts; i++) {
        free(s->hosts[i].name);
        free(s->hosts[i].identity);
        if (s->hosts[i].prepared)
            plimsoll__prepared__free_unpacked(s->hosts[i].prepared, NULL);
        free(s->hosts[i].offers);
        free(s->hosts[i].trials.item);
    }
    for (size_t i = 0; i < s->n_trials; i++)
        free(s->trials[i].reason);
    free(s->hosts);
    free(s->trials);
    free(s->seen);
    free(s->like);
    free(s);
}

/* ---- Trials ---- */

static int add_number(struct numbers *list, uint32_t index)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity * 2 + 16;
        uint32_t *larger = realloc(list->item, capacity * sizeof *larger);
        if (!larger)
            return -1;
        list->item = larger;
        list->capacity = capacity;
    }
    list->item[list->n++] = index;
    return 0;
}

int schedule_append(struct schedule *s, struct trial t, struct err *e)
{
    if (s->n_trials == SCHEDULE_MOST_TRIALS)
        return err_set(e, ERR_INPUT, "the campaign has more than %d trials", SCHEDULE_MOST_TRIALS);
    if (s->n_trials == s->capacity) {
        size_t capacity = s->capacity * 2 + 64;
        struct trial *larger = realloc(s->trials, capacity * sizeof *larger);
        if (!larger)
            return err_system(e, ENOMEM, "cannot make a schedule");
        s->trials = larger;
        s->capacity = capacity;
    }
    if (add_number(&s->hosts[t.host].trials, (uint32_t)s->n_trials) < 0)
        return err_system(e, ENOMEM, "cannot make a schedule");
    t.number = s->n_trials + 1;
    s->trials[s->n_trials++] = t;
    return 0;
}

int schedule_restore(struct schedule *s, const struct trial *t, struct err *e)
{
    if (t->number != s->n_trials + 1 || t->host >= s->n_hosts || t->cell >= s->plan->n_cells)
        return err_set(e, ERR_INPUT, "trial %llu does not fit its campaign",
                       (unsigned long long)t->number);
    struct trial copy = *t;
    copy.reason = t->reason ? strdup(t->reason) : NULL;
    return schedule_append(s, copy, e);
}

const struct trial *schedule_trials(const struct schedule *s, size_t *ret_n)
{
    *ret_n = s->n_trials;
    return s->trials;
}

const struct trial *schedule_find(const struct schedule *s, uint64_t number)
{
    return number > 0 && number <= s->n_trials ? &s->trials[number - 1] : NULL;
}

/* ---- Hosts and offers ---- */

size_t schedule_n_hosts(const struct schedule *s)
{
    return s->n_hosts;
}

const char *schedule_host_name(const struct schedule *s, uint32_t host)
{
    return s->hosts[host].name;
}

int schedule_host_index(const struct schedule *s, const char *name)
{
    for (size_t i = 0; i < s->n_hosts; i++)
        if (strcmp(s->hosts[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool schedule_host_works(const struct schedule *s, uint32_t host)
{
    return s->hosts[host].works;
}

const Plimsoll__Offer *schedule_offer(const struct schedule *s, uint32_t host, uint32_t cell)
{
    return s->hosts[host].offers[cell];
}

bool schedule_offers(const struct schedule *s, uint32_t host, uint32_t cell)
{
    const Plimsoll__Offer *offer = s->hosts[host].offers[cell];
    return s->hosts[host].works && offer && offer->available;
}

uint32_t schedule_repeat(const struct schedule *s, uint32_t host, uint32_t cell)
{
    return plan_repeat(s->plan->cells[cell], s->hosts[host].offers[cell]->accelerator);
}
