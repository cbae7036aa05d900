/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/json_plan.h"

#include "common/fs.h"

#include <math.h>
#include <stdlib.h>

json_t *report_json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *report_json_text(const char *text)
{
    json_t *made = json_string(text);
    if (made)
        return made;
    char *plain = fs_path("%s", text);
    for (unsigned char *s = (unsigned char *)plain; *s; s++)
        if (*s >= 0x80)
            *s = '?';
    made = json_string(plain);
    free(plain);
    return made ? made : json_null();
}

static json_t *list(const Plimsoll__Strings *strings)
{
    json_t *to = json_array();
    for (size_t i = 0; strings && i < strings->n_item; i++)
        json_array_append_new(to, report_json_text(strings->item[i]));
    return to;
}

static json_t *setting(const Plimsoll__Value *v)
{
    switch (v ? v->kind_case : PLIMSOLL__VALUE__KIND__NOT_SET) {
    case PLIMSOLL__VALUE__KIND_TEXT:
        return report_json_text(v->text);
    case PLIMSOLL__VALUE__KIND_INTEGER:
        return json_integer(v->integer);
    case PLIMSOLL__VALUE__KIND_REAL:
        return report_json_number(v->real);
    case PLIMSOLL__VALUE__KIND_FLAG:
        return json_boolean(v->flag);
    case PLIMSOLL__VALUE__KIND_LIST:
        return list(v->list);
    default:
        return json_null();
    }
}

static json_t *section(const Plimsoll__Section *s)
{
    if (!s)
        return json_null();
    json_t *settings = json_object();
    for (size_t i = 0; i < s->n_settings; i++)
        json_object_set_new(settings, s->settings[i]->key, setting(s->settings[i]->value));
    return json_pack("{s:o, s:o, s:o}", "name", report_json_text(s->name), "plugin",
                     report_json_text(s->plugin), "settings", settings);
}

static json_t *repeat(const Plimsoll__Repeat *r)
{
    if (!r)
        return json_null();
    return json_pack("{s:I, s:I, s:I}", "default", (json_int_t)r->default_count, "kvm",
                     (json_int_t)(r->kvm ? r->kvm : r->default_count), "tcg",
                     (json_int_t)(r->tcg ? r->tcg : r->default_count));
}

json_t *report_json_cell(const Plimsoll__Cell *c)
{
    json_t *factors = json_object();
    for (size_t i = 0; i < c->n_factors; i++)
        json_object_set_new(factors, c->factors[i]->key, report_json_text(c->factors[i]->value));
    json_t *to = json_object();
    json_object_set_new(to, "cell", json_integer(c->index));
    json_object_set_new(to, "experiment", report_json_text(c->experiment));
    json_object_set_new(to, "factors", factors);
    json_object_set_new(to, "probe", section(c->probe));
    json_object_set_new(to, "guest", section(c->guest));
    json_object_set_new(to, "image", section(c->image));
    json_object_set_new(to, "workload", section(c->workload));
    json_object_set_new(to, "repeat", repeat(c->repeat));
    json_object_set_new(to, "warmup", json_integer(c->warmup));
    json_object_set_new(to, "deadline_ns", json_integer((json_int_t)c->deadline_ns));
    return to;
}

static const char *tier_word(Plimsoll__Tier tier)
{
    switch (tier) {
    case PLIMSOLL__TIER__TIER_MUST_MATCH:
        return "must match";
    case PLIMSOLL__TIER__TIER_SHOULD_MATCH:
        return "should match";
    default:
        return "information";
    }
}

static json_t *fingerprint(const Plimsoll__Fingerprint *f)
{
    json_t *facts = json_array();
    for (size_t i = 0; i < f->n_facts; i++)
        json_array_append_new(facts, json_pack("{s:o, s:o, s:s}", "key",
                                               report_json_text(f->facts[i]->key), "value",
                                               report_json_text(f->facts[i]->value), "tier",
                                               tier_word(f->facts[i]->tier)));
    return json_pack("{s:I, s:o}", "schema", (json_int_t)f->schema, "facts", facts);
}

static json_t *offer(const Plimsoll__Offer *o)
{
    json_t *to = json_object();
    json_object_set_new(to, "guest", report_json_text(o->guest));
    json_object_set_new(to, "image", report_json_text(o->image));
    json_object_set_new(to, "available", json_boolean(o->available));
    json_object_set_new(to, "reason", report_json_text(o->reason));
    json_object_set_new(to, "accelerator", report_json_text(o->accelerator));
    json_object_set_new(to, "nested", json_boolean(o->nested));
    json_object_set_new(to, "image_digest", report_json_text(o->image_digest));
    json_object_set_new(to, "note", report_json_text(o->note));
    return to;
}

json_t *report_json_host(const struct report_host *h)
{
    json_t *offers = json_array();
    for (size_t i = 0; i < h->prepared->n_offers; i++)
        json_array_append_new(offers, offer(h->prepared->offers[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", report_json_text(h->name), "group",
                     report_json_text(h->group), "software", report_json_text(h->software),
                     "fingerprint", fingerprint(h->fingerprint), "offers", offers);
}
