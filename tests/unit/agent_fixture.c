/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/agent_fixture.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int agent_fixture_open(struct agent_fixture *f)
{
    memset(f, 0, sizeof *f);
    strcpy(f->folder, "/tmp/plimsoll-agent-XXXXXX");
    struct err e = ERR_INIT;
    if (!mkdtemp(f->folder))
        return -1;
    f->host.state_folder = fs_path("%s/state", f->folder);
    f->host.run_folder = fs_path("%s/run", f->folder);
    f->host.images_folder = fs_path("%s/images", f->folder);
    f->host.allow_fake = true;
    if (host_open(&f->host, &e) < 0 || stamper_start(&f->stamper, &e) < 0) {
        fprintf(stderr, "%s\n", err_text(&e));
        err_clear(&e);
        return -1;
    }
    f->bench = (struct bench){.host = &f->host, .stamper = f->stamper, .runner_digest = ""};
    return 0;
}

void agent_fixture_close(struct agent_fixture *f)
{
    if (f->stamper)
        stamper_stop(&f->stamper);
    host_close(&f->host);
    fs_remove_tree(f->folder, NULL);
}

static Plimsoll__Section *section_new(const char *name, const char *plugin)
{
    Plimsoll__Section *s = malloc(sizeof *s);
    plimsoll__section__init(s);
    s->name = strdup(name);
    s->plugin = strdup(plugin);
    return s;
}

static Plimsoll__Setting *setting_new(const char *key, const char *value)
{
    Plimsoll__Setting *s = malloc(sizeof *s);
    plimsoll__setting__init(s);
    s->key = strdup(key);
    s->value = malloc(sizeof *s->value);
    plimsoll__value__init(s->value);
    if (isdigit((unsigned char)value[0])) {
        s->value->kind_case = PLIMSOLL__VALUE__KIND_INTEGER;
        s->value->integer = strtoll(value, NULL, 10);
    } else {
        s->value->kind_case = PLIMSOLL__VALUE__KIND_TEXT;
        s->value->text = strdup(value);
    }
    return s;
}

Plimsoll__Section *agent_fixture_guest(const char *const *settings)
{
    Plimsoll__Section *s = section_new("scripted", "fake");
    size_t n = 0;
    while (settings && settings[2 * n])
        n++;
    s->settings = calloc(n + 1, sizeof *s->settings);
    for (size_t i = 0; i < n; i++)
        s->settings[s->n_settings++] = setting_new(settings[2 * i], settings[2 * i + 1]);
    return s;
}

Plimsoll__Assign *agent_fixture_assign(const char *const *settings)
{
    static uint64_t leases;
    Plimsoll__Assign *a = malloc(sizeof *a);
    plimsoll__assign__init(a);
    a->lease = malloc(sizeof *a->lease);
    plimsoll__lease__init(a->lease);
    a->lease->campaign = strdup("20260101-000000-test-0000");
    a->lease->trial = 7;
    a->lease->attempt = 1;
    a->lease->lease = ++leases;
    a->cell = malloc(sizeof *a->cell);
    plimsoll__cell__init(a->cell);
    a->cell->probe = section_new("startup", "startup");
    a->cell->guest = agent_fixture_guest(settings);
    a->cell->deadline_ns = (uint64_t)(20 * NS_PER_S);
    return a;
}

size_t agent_fixture_leftovers(const struct agent_fixture *f)
{
    cleanup_free char *path = fs_path("%s/guests", f->host.state_folder);
    DIR *folder = opendir(path);
    size_t n = 0;
    for (struct dirent *d; folder && (d = readdir(folder));)
        n += d->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return n;
}
