#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What Exporters Have Said
 *
 * Exporters by address, their domains by (version, id), and of each domain its templates, samplers,
 * names, and the data sets that wait for a template.
 */

#include "collect/account.h"
#include "collect/collect.h"
#include "collect/plan.h"

typedef struct Domain Domain;
typedef struct Exporter Exporter;
typedef struct Held Held;
typedef struct Name Name;

typedef struct Template {
    struct Template *next; /* of the same bucket */
    uint16_t id;
    bool options;
    uint8_t *definition; /* as on the wire: the same again need not be compiled again */
    size_t definition_bytes;
    uint64_t told_ms; /* when it came last */
    Plan plan;
} Template;

/* what a message's header says, as far as its sets need it */
typedef struct MessageClock {
    PlanClock clock;
    uint64_t received_ms;
} MessageClock;

/* a data set that came before its template */
struct Held {
    Held *next;
    MessageClock when;
    uint16_t id;
    bool counts;       /* stands for its datagram in the account, */
    uint8_t otherwise; /* which but for this set is that: a CollectFate */
    uint32_t message;  /* that it came in */
    uint32_t size;
    uint8_t bytes[];
};

struct Name {
    Name *next;
    uint64_t key;
    uint8_t kind;
    uint8_t size;
    char text[];
};

typedef struct Sampler {
    uint64_t id;
    uint32_t rate; /* 0: free */
} Sampler;

enum {
    DOMAIN_BUCKETS = 32,
    NAME_BUCKETS = 256,
    NAME_TEXT_MAX = 255,
    STATE_BUCKETS = 4096,
    COLLECT_BATCH = 8
};

struct Domain {
    Domain *next; /* of the same exporter */
    Exporter *exporter;
    uint32_t id;
    uint32_t sub_id; /* of sFlow */
    uint8_t version;
    Template *templates[DOMAIN_BUCKETS];
    Held *held, **held_end;
    Name **names; /* NAME_BUCKETS of them, NULL: none yet */
    Sampler samplers[COLLECT_SAMPLERS_MAX];
    unsigned n_samplers, next_sampler;
    uint64_t boot_ms;
    CollectAccount account;
    uint64_t datagrams, bytes, flows, options;
    uint64_t first_ms, last_ms;
    NetAddress source; /* of its last datagram */
    uint32_t rate;     /* of the last flow */
    uint8_t rate_from; /* CollectRate */
    uint16_t n_templates;
    CollectMark mark;
};

struct Exporter {
    Exporter *next; /* of the same bucket */
    NetAddress address;
    uint32_t stream;
    uint64_t last_ms;
    Domain *domains;
    Domain *latest;
    Domain *whole[2]; /* domain 0 of v9 and of IPFIX, which speaks for all others; NULL: none */
    size_t held_bytes, held_sets; /* of all its domains */
};

struct Collector {
    CollectConfig config;
    Exporter *exporters[STATE_BUCKETS];
    Exporter *latest; /* of the last datagram: often that of the next one */
    size_t n_exporters, n_domains, n_templates, n_names;
    uint64_t names_changed;
    size_t held_bytes, held_sets;
    size_t learnt_bytes;   /* of templates and names */
    uint64_t changes;      /* of what collector_keep() writes */
    uint32_t message;      /* number of the one being read */
    uint64_t serial;       /* of the domain made last */
    uint64_t held_look_ms; /* when those held too long were looked for */
    Plan plan_v1, plan_v5, plan_v7;
    PlanField fields[PLAN_FIELDS_MAX];    /* of the template being read */
    CollectRecord record;                 /* the one being read, where no plan does it */
    size_t clear_bytes;                   /* of it */
    CollectRecord records[COLLECT_BATCH]; /* those that a plan reads */
    const Plan *records_plan;             /* that read them last; NULL: they must be cleared */
    size_t records_clean;                 /* so many are as it left them */
};

static inline void collect_count(Collector *collector, int id, uint64_t n) {
    metric_add(&collector->config.counters[id], n);
}

/** state_exporter() - the one of this address, new when need be; NULL: no memory */
Exporter *state_exporter(Collector *collector, const NetAddress *address, uint32_t stream,
                         uint64_t now_ms);
void state_forget(Collector *collector, Exporter *exporter);

/** state_domain() - NULL: no memory, or too many */
Domain *state_domain(Collector *collector, Exporter *exporter, uint8_t version, uint32_t id,
                     uint32_t sub_id);

Template *state_template(const Domain *domain, uint16_t id);

/* a template's record as it came, whose n fields are in collector->fields */
typedef struct Definition {
    uint16_t id;
    bool options;
    const uint8_t *bytes;
    size_t size;
    size_t n;
    uint64_t told_ms;
} Definition;

/** state_define() - 0, or -ENOMEM */
int state_define(Collector *collector, Domain *domain, const Definition *definition);
void state_withdraw(Collector *collector, Domain *domain, uint16_t id);
void state_withdraw_all(Collector *collector, Domain *domain, bool options);

/** state_hold() - keep a data set for its template; false: there is no room, and that is counted */
bool state_hold(Collector *collector, Domain *domain, uint16_t id, const MessageClock *when,
                const uint8_t *bytes, size_t size);
/** state_release() - the sets that waited for this template, taken out; free() each */
Held *state_release(Collector *collector, Domain *domain, uint16_t id);
/** state_held_of() - a set of this message that is still held, or NULL */
Held *state_held_of(const Domain *domain, uint32_t message);
void state_expire(Collector *collector, uint64_t now_ms);

void state_learn_sampler(Collector *collector, Domain *domain, uint64_t id, uint32_t rate);
void state_learn_boot(Collector *collector, Domain *domain, uint64_t boot_ms);
/** state_whole() - the domain that speaks for all of its version; may be itself or NULL */
Domain *state_whole(const Domain *domain);

/** state_rate() - 0: not known */
uint32_t state_rate(const Domain *domain, uint64_t id);

void state_learn_name(Collector *collector, Domain *domain, CollectNameKind kind, uint64_t key,
                      const FlowText *text);
/** state_name() - empty: not known */
FlowText state_name(const Domain *domain, CollectNameKind kind, uint64_t key);
