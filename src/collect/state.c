/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    EVICT_LOOK = 64, /* exporters looked at for the one that was silent longest */
    NAME_TABLE_BYTES = NAME_BUCKETS * sizeof(Name *),
};

/* --- letting go --- */

static size_t template_bytes(const Template *template) {
    return sizeof(*template) + template->definition_bytes + template->plan.bytes;
}

static size_t name_bytes(size_t text_bytes) {
    return sizeof(Name) + text_bytes;
}

/* is there room for so much more of what exporters say? */
static bool may_learn(const Collector *collector, size_t bytes) {
    return collector->learnt_bytes + bytes <= collector->config.learnt_bytes;
}

static void template_free(Collector *collector, Template *template) {
    collector->learnt_bytes -= template_bytes(template);
    if (collector->records_plan == &template->plan)
        collector->records_plan = NULL;
    plan_deinit(&template->plan);
    free(template->definition);
    free(template);
    collector->n_templates--;
}

static void held_gone(Collector *collector, const Domain *domain, const Held *held) {
    domain->exporter->held_bytes -= held->size;
    domain->exporter->held_sets--;
    collector->held_bytes -= held->size;
    collector->held_sets--;
}

static void names_free(Collector *collector, Domain *domain) {
    for (size_t i = 0; domain->names && i < NAME_BUCKETS; i++)
        for (Name *name = domain->names[i], *next = NULL; name; name = next) {
            next = name->next;
            collector->learnt_bytes -= name_bytes(name->size);
            free(name);
            collector->n_names--;
        }
    if (domain->names)
        collector->learnt_bytes -= NAME_TABLE_BYTES;
    free(domain->names);
}

static void domain_free(Collector *collector, Domain *domain) {
    for (size_t i = 0; i < DOMAIN_BUCKETS; i++)
        for (Template *t = domain->templates[i], *next = NULL; t; t = next) {
            next = t->next;
            template_free(collector, t);
        }
    for (Held *held = domain->held, *next = NULL; held; held = next) {
        next = held->next;
        held_gone(collector, domain, held);
        collect_count(collector, COLLECT_COUNT_NO_TEMPLATE, 1);
        free(held);
    }
    names_free(collector, domain);
    free(domain);
    collector->n_domains--;
}

static size_t bucket_of(const Collector *collector, const NetAddress *address, uint32_t stream) {
    return hash_bytes(address, sizeof(*address), collector->config.seed ^ stream) % STATE_BUCKETS;
}

void state_forget(Collector *collector, Exporter *exporter) {
    Exporter **at =
        &collector->exporters[bucket_of(collector, &exporter->address, exporter->stream)];
    while (*at != exporter)
        at = &(*at)->next;
    *at = exporter->next;
    for (Domain *domain = exporter->domains, *next = NULL; domain; domain = next) {
        next = domain->next;
        domain_free(collector, domain);
    }
    if (collector->latest == exporter)
        collector->latest = NULL;
    collector->n_exporters--;
    free(exporter);
}

/* of some after this bucket, the one that was silent longest */
static void evict_near(Collector *collector, size_t bucket) {
    Exporter *oldest = NULL;
    size_t looked = 0;
    for (size_t i = 0; i < STATE_BUCKETS && looked < EVICT_LOOK; i++)
        for (Exporter *e = collector->exporters[(bucket + i) % STATE_BUCKETS]; e; e = e->next) {
            looked++;
            if (!oldest || e->last_ms < oldest->last_ms)
                oldest = e;
        }
    if (!oldest)
        return;
    collect_count(collector, COLLECT_COUNT_EXPORTERS_LET_GO, 1);
    state_forget(collector, oldest);
}

/* --- exporters and domains --- */

Exporter *state_exporter(Collector *collector, const NetAddress *address, uint32_t stream,
                         uint64_t now_ms) {
    Exporter *e = collector->latest;
    if (!e || e->stream != stream || !net_address_equal(&e->address, address)) {
        const size_t bucket = bucket_of(collector, address, stream);
        e = collector->exporters[bucket];
        while (e && (e->stream != stream || !net_address_equal(&e->address, address)))
            e = e->next;
        if (!e) {
            if (collector->n_exporters >= COLLECT_EXPORTERS_MAX)
                evict_near(collector, bucket);
            e = calloc(1, sizeof(*e));
            if (!e)
                return NULL;
            e->address = *address;
            e->stream = stream;
            e->next = collector->exporters[bucket];
            collector->exporters[bucket] = e;
            collector->n_exporters++;
        }
    }
    e->last_ms = now_ms;
    collector->latest = e;
    return e;
}

Domain *state_domain(Collector *collector, Exporter *exporter, uint8_t version, uint32_t id,
                     uint32_t sub_id) {
    Domain *d = exporter->latest;
    if (d && d->id == id && d->version == version && d->sub_id == sub_id)
        return d;
    for (d = exporter->domains; d; d = d->next)
        if (d->id == id && d->version == version && d->sub_id == sub_id)
            break;
    if (!d) {
        if (collector->n_domains >= COLLECT_DOMAINS_MAX)
            return NULL;
        d = calloc(1, sizeof(*d));
        if (!d)
            return NULL;
        *d = (Domain){.next = exporter->domains,
                      .exporter = exporter,
                      .id = id,
                      .sub_id = sub_id,
                      .version = version,
                      .mark = {.serial = ++collector->serial},
                      .held_end = &d->held};
        exporter->domains = d;
        if (id == 0 && (version == 9 || version == 10))
            exporter->whole[version - 9] = d;
        collector->n_domains++;
    }
    exporter->latest = d;
    return d;
}

/* RFC 7011 section 3.1: no domain in particular */
Domain *state_whole(const Domain *domain) {
    return domain->version < 9 || domain->version > 10
               ? NULL
               : domain->exporter->whole[domain->version - 9];
}

/* --- templates --- */

Template *state_template(const Domain *domain, uint16_t id) {
    Template *t = domain->templates[id % DOMAIN_BUCKETS];
    while (t && t->id != id)
        t = t->next;
    return t;
}

static Template *template_add(Collector *collector, Domain *domain, uint16_t id) {
    Template *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->id = id;
    collector->learnt_bytes += template_bytes(t);
    domain->n_templates++;
    t->next = domain->templates[id % DOMAIN_BUCKETS];
    domain->templates[id % DOMAIN_BUCKETS] = t;
    collector->n_templates++;
    return t;
}

static bool same_definition(const Template *t, const Definition *d) {
    return t->options == d->options && t->definition_bytes == d->size &&
           memcmp(t->definition, d->bytes, d->size) == 0;
}

int state_define(Collector *collector, Domain *domain, const Definition *definition) {
    Template *t = state_template(domain, definition->id);
    if (t && same_definition(t, definition)) {
        t->told_ms = definition->told_ms;
        return 0;
    }
    if (!t && collector->n_templates >= COLLECT_TEMPLATES_MAX) {
        collect_count(collector, COLLECT_MALFORMED_LIMIT, 1);
        return 0;
    }
    Plan plan;
    int r = plan_make(&plan, collector->fields, definition->n, collector->config.keep_unknown);
    if (r)
        return error_trace(r);
    const size_t old_bytes = t ? template_bytes(t) : 0;
    if (!may_learn(collector, sizeof(*t) + definition->size + plan.bytes - old_bytes)) {
        plan_deinit(&plan);
        collect_count(collector, COLLECT_MALFORMED_LIMIT, 1);
        return 0;
    }
    uint8_t *kept = malloc(definition->size);
    t = t ? t : template_add(collector, domain, definition->id);
    if (!kept || !t) {
        free(kept);
        plan_deinit(&plan);
        return error_origin(-ENOMEM);
    }
    memcpy(kept, definition->bytes, definition->size);
    collector->learnt_bytes -= template_bytes(t);
    free(t->definition);
    plan_deinit(&t->plan);
    t->definition = kept;
    t->definition_bytes = definition->size;
    t->options = definition->options;
    t->told_ms = definition->told_ms;
    t->plan = plan;
    collector->learnt_bytes += template_bytes(t);
    collector->records_plan = NULL;
    collector->changes++;
    return 0;
}

void state_withdraw(Collector *collector, Domain *domain, uint16_t id) {
    Template **at = &domain->templates[id % DOMAIN_BUCKETS];
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    Template *t = *at;
    if (!t)
        return;
    *at = t->next;
    domain->n_templates--;
    collector->changes++;
    template_free(collector, t);
}

void state_withdraw_all(Collector *collector, Domain *domain, bool options) {
    for (size_t i = 0; i < DOMAIN_BUCKETS; i++)
        for (Template *t = domain->templates[i], *next = NULL; t; t = next) {
            next = t->next;
            if (t->options == options)
                state_withdraw(collector, domain, t->id);
        }
}

/* --- data that waits --- */

static void held_show(Collector *collector) {
    metric_set(&collector->config.counters[COLLECT_COUNT_HELD], collector->held_sets);
    metric_set(&collector->config.counters[COLLECT_COUNT_HELD_BYTES], collector->held_bytes);
}

bool state_hold(Collector *collector, Domain *domain, uint16_t id, const MessageClock *when,
                const uint8_t *bytes, size_t size) {
    const CollectConfig *config = &collector->config;
    Exporter *exporter = domain->exporter;
    Held *held = NULL;
    if (collector->held_bytes + size <= config->held_bytes &&
        exporter->held_bytes + size <= config->held_exporter_bytes &&
        collector->held_sets < COLLECT_HELD_SETS &&
        exporter->held_sets < COLLECT_HELD_EXPORTER_SETS)
        held = malloc(sizeof(*held) + size);
    if (!held) {
        collect_count(collector, COLLECT_COUNT_HELD_FULL, 1);
        return false;
    }
    *held = (Held){.when = *when, .id = id, .message = collector->message, .size = (uint32_t)size};
    memcpy(held->bytes, bytes, size);
    *domain->held_end = held;
    domain->held_end = &held->next;
    collector->held_bytes += size;
    exporter->held_bytes += size;
    exporter->held_sets++;
    collector->held_sets++;
    held_show(collector);
    return true;
}

/* what a message adds is at the end, and nothing comes behind it while it is read */
Held *state_held_of(const Domain *domain, uint32_t message) {
    if (!domain->held)
        return NULL;
    Held *last = (Held *)(void *)((uint8_t *)domain->held_end - offsetof(Held, next));
    return last->message == message ? last : NULL;
}

Held *state_release(Collector *collector, Domain *domain, uint16_t id) {
    Held *out = NULL;
    Held **out_end = &out;
    Held **at = &domain->held;
    while (*at) {
        Held *held = *at;
        if (held->id != id) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        held->next = NULL;
        *out_end = held;
        out_end = &held->next;
        held_gone(collector, domain, held);
    }
    domain->held_end = at;
    held_show(collector);
    return out;
}

/* the first that wait are the oldest */
static void domain_expire(Collector *collector, Domain *domain, uint64_t now_ms) {
    while (domain->held && now_ms >= domain->held->when.received_ms &&
           now_ms - domain->held->when.received_ms >= collector->config.held_ms) {
        Held *held = domain->held;
        domain->held = held->next;
        if (!domain->held)
            domain->held_end = &domain->held;
        held_gone(collector, domain, held);
        collect_count(collector, COLLECT_COUNT_NO_TEMPLATE, 1);
        account_late(domain, held, 0, COLLECT_NO_TEMPLATE);
        free(held);
    }
}

void state_expire(Collector *collector, uint64_t now_ms) {
    for (size_t i = 0; collector->held_sets && i < STATE_BUCKETS; i++)
        for (Exporter *e = collector->exporters[i]; e; e = e->next)
            for (Domain *d = e->domains; d; d = d->next)
                domain_expire(collector, d, now_ms);
    held_show(collector);
}

/* --- what options say --- */

void state_learn_boot(Collector *collector, Domain *domain, uint64_t boot_ms) {
    collector->changes += domain->boot_ms != boot_ms;
    domain->boot_ms = boot_ms;
}

void state_learn_sampler(Collector *collector, Domain *domain, uint64_t id, uint32_t rate) {
    unsigned i = 0;
    while (i < domain->n_samplers && domain->samplers[i].id != id)
        i++;
    if (i == domain->n_samplers) {
        if (i < COLLECT_SAMPLERS_MAX)
            domain->n_samplers++;
        else
            i = domain->next_sampler++ % COLLECT_SAMPLERS_MAX;
    }
    collector->changes += domain->samplers[i].id != id || domain->samplers[i].rate != rate;
    domain->samplers[i] = (Sampler){.id = id, .rate = rate};
}

uint32_t state_rate(const Domain *domain, uint64_t id) {
    for (unsigned i = 0; i < domain->n_samplers; i++)
        if (domain->samplers[i].id == id)
            return domain->samplers[i].rate;
    return 0;
}

static Name **name_place(const Domain *domain, CollectNameKind kind, uint64_t key) {
    Name **at = &domain->names[hash_u64(key, kind) % NAME_BUCKETS];
    while (*at && ((*at)->key != key || (*at)->kind != kind))
        at = &(*at)->next;
    return at;
}

void state_learn_name(Collector *collector, Domain *domain, CollectNameKind kind, uint64_t key,
                      const FlowText *text) {
    size_t size = text->size;
    while (size > 0 && text->text[size - 1] == 0)
        size--;
    if (size == 0 || size > NAME_TEXT_MAX ||
        !may_learn(collector, name_bytes(size) + (domain->names ? 0 : NAME_TABLE_BYTES)))
        return;
    if (!domain->names) {
        domain->names = calloc(NAME_BUCKETS, sizeof(Name *));
        if (!domain->names)
            return;
        collector->learnt_bytes += NAME_TABLE_BYTES;
    }
    Name **at = name_place(domain, kind, key);
    Name *old = *at;
    if (old && old->size == size && memcmp(old->text, text->text, size) == 0)
        return;
    if (!old && collector->n_names >= COLLECT_NAMES_MAX)
        return;
    Name *name = malloc(sizeof(*name) + size);
    if (!name)
        return;
    *name = (Name){
        .next = old ? old->next : NULL, .key = key, .kind = (uint8_t)kind, .size = (uint8_t)size};
    memcpy(name->text, text->text, size);
    *at = name;
    collector->learnt_bytes += name_bytes(size) - (old ? name_bytes(old->size) : 0);
    collector->n_names += old == NULL;
    collector->changes++;
    collector->names_changed++;
    free(old);
}

FlowText state_name(const Domain *domain, CollectNameKind kind, uint64_t key) {
    const Name *name = domain->names ? *name_place(domain, kind, key) : NULL;
    return name ? (FlowText){.text = name->text, .size = name->size} : (FlowText){0};
}
