/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/doors.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

enum {
    STREAM_BYTES = 16000,
    TEMPLATES_MS = 10000,
};

typedef struct Way {
    NetflowStream stream;
    NetflowMessage message; /* being filled */
    uint64_t begun_ms;
    Door *door;
    bool tcp;
    uint32_t since_templates; /* messages */
    uint64_t templates_ms;
    BatchCounts unsent; /* what never came to the door */
} Way;

struct Doors {
    DoorsConfig config;
    size_t n;
    size_t next; /* whose turn it is */
    uint64_t newest_ms;
    uint64_t init_ms;
    NetflowMessage announcement;

    pthread_mutex_t lock; /* of what follows */
    DoorsMetered metered;
    bool limited;
    bool told; /* that the limit is reached */
    uint64_t used_records;
    uint64_t lost_records; /* for want of memory */
    uint64_t unfit_flows;
    uint64_t withheld_flows;

    Way ways[];
};

/* --- options ------------------------------------------------------------------------------ */

bool doors_wanted(const OptionList *collectors) {
    return collectors->n && !(collectors->n == 1 && strcmp(collectors->values[0], "none") == 0);
}

static int check_version(const DoorsConfig *config, const DoorAddress *address, Reason *reason) {
    if (config->version != NETFLOW_5 && config->version != NETFLOW_9 &&
        config->version != NETFLOW_IPFIX) {
        reason_set(reason, "-V %u: 5 and 9 are NetFlow, 10 is IPFIX", (unsigned)config->version);
        return DOORS_E_USAGE;
    }
    if (config->version == NETFLOW_5 && address->tcp) {
        reason_set(reason, "-n %s: NetFlow v5 goes over UDP only; take -V 9 or -V 10",
                   address->text);
        return DOORS_E_USAGE;
    }
    return 0;
}

/* *fieldsp is left alone without -T */
static int read_fields(const DoorsConfig *config, NetflowFields *fields,
                       const NetflowFields **fieldsp, Buffer *absent, Reason *reason) {
    if (!config->fields || config->version == NETFLOW_5)
        return 0;
    int r = netflow_fields_parse(fields, config->fields, config->version, config->collecting,
                                 absent, reason);
    if (r == 0)
        *fieldsp = fields;
    return r > 0 ? DOORS_E_USAGE : error_trace(r);
}

int doors_check(const DoorsConfig *config, Reason *reason) {
    const OptionList *collectors = config->collectors;
    const NetflowFields *fields = NULL;
    NetflowFields room;
    Buffer absent = {0};
    DoorAddress address;
    int r = read_fields(config, &room, &fields, &absent, reason);
    buffer_deinit(&absent);
    if (r || !doors_wanted(collectors))
        return r ? DOORS_E_USAGE : 0;
    if (collectors->n > DOORS_MAX) {
        reason_set(reason, "-n is given %zu times; %d collectors are the most", collectors->n,
                   DOORS_MAX);
        return DOORS_E_USAGE;
    }
    for (size_t i = 0; r == 0 && i < collectors->n; i++) {
        r = door_parse(&address, collectors->values[i], reason);
        if (r == 0)
            r = check_version(config, &address, reason);
    }
    return r ? DOORS_E_USAGE : 0;
}

/* --- life --------------------------------------------------------------------------------- */

static int open_way(Doors *doors, Way *way, const NetflowFields *fields, const char *text,
                    Reason *reason) {
    const DoorsConfig *config = &doors->config;
    DoorAddress address;
    int r = door_parse(&address, text, reason);
    if (r)
        return r;
    way->tcp = address.tcp;
    way->since_templates = config->templates_messages;
    const NetflowShape shape = {.version = config->version,
                                .domain = config->domain,
                                .first_template = (uint16_t)config->first_template,
                                .told = address.tcp,
                                .fields = fields};
    netflow_stream_init(&way->stream, &shape);
    way->stream.self = door_self(&address);
    if (config->name)
        way->stream.instance =
            (FlowText){.text = config->name, .size = (uint32_t)strlen(config->name)};
    return error_trace(door_new(&way->door, &address, &way->stream, config->patient));
}

static void say_absent(const DoorsConfig *config, const Buffer *absent) {
    if (config->fields && config->version == NETFLOW_5)
        log_notice("-T changes nothing: NetFlow v5 has fields of its own; -V 9 or -V 10 take it");
    if (absent->size)
        log_notice("-T: not measured here and left out: %.*s", (int)absent->size,
                   (const char *)absent->bytes);
}

static int open_ways(Doors *doors, Reason *reason) {
    const OptionList *collectors = doors->config.collectors;
    const NetflowFields *fields = NULL;
    NetflowFields room;
    Buffer absent = {0};
    int r = read_fields(&doors->config, &room, &fields, &absent, reason);
    if (r == 0)
        say_absent(&doors->config, &absent);
    buffer_deinit(&absent);
    for (; r == 0 && doors->n < collectors->n; doors->n++)
        r = open_way(doors, &doors->ways[doors->n], fields, collectors->values[doors->n], reason);
    return r;
}

int doors_new(Doors **doorsp, const DoorsConfig *config, Reason *reason) {
    const OptionList *collectors = config->collectors;
    cleanup(doors_freep) Doors *doors = calloc(1, sizeof(*doors) + collectors->n * sizeof(Way));
    if (!doors)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&doors->lock, NULL);
    doors->config = *config;
    doors->limited = config->limited;
    doors->init_ms = clock_wall_ms();
    if (!config->first_template)
        doors->config.first_template = NETFLOW_TEMPLATE_MIN;
    if (!config->templates_messages)
        doors->config.templates_messages = DOORS_TEMPLATES_MESSAGES;
    int r = open_ways(doors, reason);
    if (r)
        return r > 0 ? DOORS_E_USAGE : error_trace(r);
    *doorsp = doors;
    doors = NULL;
    return 0;
}

Doors *doors_free(Doors *doors) {
    if (!doors)
        return NULL;
    for (size_t i = 0; i < doors->n; i++) {
        door_free(doors->ways[i].door);
        netflow_message_deinit(&doors->ways[i].message);
    }
    netflow_message_deinit(&doors->announcement);
    (void)pthread_mutex_destroy(&doors->lock);
    free(doors);
    return NULL;
}

/* --- the limit ---------------------------------------------------------------------------- */

void doors_limit(Doors *doors, bool limited) {
    (void)pthread_mutex_lock(&doors->lock);
    if (limited && !doors->limited)
        doors->used_records = 0;
    const bool again = doors->limited && !limited && doors->told;
    doors->limited = limited;
    doors->told = doors->told && limited;
    (void)pthread_mutex_unlock(&doors->lock);
    if (again)
        log_notice("-n: flows are exported to collectors again");
}

static size_t allowed(Doors *doors) {
    (void)pthread_mutex_lock(&doors->lock);
    const size_t records = !doors->limited ? SIZE_MAX
                           : doors->used_records < DOORS_LIMIT_RECORDS
                               ? (size_t)(DOORS_LIMIT_RECORDS - doors->used_records)
                               : 0;
    (void)pthread_mutex_unlock(&doors->lock);
    return records;
}

static void account(Doors *doors, const NetflowTaken *taken) {
    (void)pthread_mutex_lock(&doors->lock);
    doors->used_records += taken->records;
    doors->unfit_flows += taken->unfit;
    (void)pthread_mutex_unlock(&doors->lock);
}

static void withhold(Doors *doors, size_t flows) {
    (void)pthread_mutex_lock(&doors->lock);
    const bool tell = doors->limited && !doors->told;
    const uint64_t used = doors->used_records;
    doors->told = doors->told || tell;
    doors->withheld_flows += flows;
    (void)pthread_mutex_unlock(&doors->lock);
    if (tell)
        log_warning("-n: %llu records were exported to collectors, and without a licence or a "
                    "hub's lease this run exports no more than %d; hubs, --json and the spool go "
                    "on (weir-probe --check-license)",
                    (unsigned long long)used, DOORS_LIMIT_RECORDS);
}

/* --- messages ----------------------------------------------------------------------------- */

static uint64_t export_time(const Doors *doors) {
    return doors->config.patient && doors->newest_ms ? doors->newest_ms : clock_wall_ms();
}

static bool is_due(const Doors *doors, const Way *way, uint64_t now_ms) {
    return doors->config.version != NETFLOW_5 &&
           ((!way->tcp && way->since_templates >= doors->config.templates_messages) ||
            now_ms - way->templates_ms >= TEMPLATES_MS);
}

static NetflowFacts facts_of(Doors *doors, const Way *way) {
    const DoorsConfig *config = &doors->config;
    DoorStatus status;
    door_status(way->door, &status);
    const BatchCounts unsent = batch_counts_add(way->unsent, status.failed);
    (void)pthread_mutex_lock(&doors->lock);
    const DoorsMetered metered = doors->metered;
    (void)pthread_mutex_unlock(&doors->lock);
    return (NetflowFacts){.init_ms = doors->init_ms,
                          .name = config->name,
                          .interface = config->interface,
                          .interface_index = config->interface_index,
                          .ignored_packets = metered.ignored_packets,
                          .ignored_octets = metered.ignored_octets,
                          .dropped_packets = metered.dropped_packets,
                          .observed_flows = metered.flows,
                          .unsent_flows = unsent.flows,
                          .unsent_packets = unsent.packets,
                          .unsent_octets = unsent.octets};
}

static size_t room_bytes(const Way *way) {
    return way->tcp ? STREAM_BYTES : door_room_bytes(way->door);
}

/* templates that were used, and what is to be said of the exporter */
static void announce(Doors *doors, Way *way, uint64_t now_ms) {
    static const BatchCounts none = {0};
    NetflowMessage *message = &doors->announcement;
    const NetflowFacts facts = facts_of(doors, way);
    unsigned step = 0;
    while (
        netflow_announce(&way->stream, &facts, message, room_bytes(way), export_time(doors), &step))
        door_send(way->door, message->bytes.bytes, message->bytes.size, 0, &none);
    way->since_templates = 0;
    way->templates_ms = now_ms;
}

/* n records, of these flows: for want of memory */
static void lose(Doors *doors, Way *way, size_t n, const BatchCounts *counts) {
    way->unsent = batch_counts_add(way->unsent, *counts);
    (void)pthread_mutex_lock(&doors->lock);
    doors->lost_records += n;
    (void)pthread_mutex_unlock(&doors->lock);
}

/* what is in it goes; the next one's turn */
static void flush(Doors *doors, Way *way) {
    NetflowMessage *message = &way->message;
    if (!message->records && !message->templates)
        return;
    if (netflow_end(&way->stream, message, export_time(doors))) {
        lose(doors, way, message->records, &message->counts);
    } else {
        door_send(way->door, message->bytes.bytes, message->bytes.size, message->records,
                  &message->counts);
        way->since_templates++;
    }
    netflow_clear(message);
    if (!doors->config.all && &doors->ways[doors->next % doors->n] == way)
        doors->next++;
}

static BatchCounts counts_of(const FlowRecord *records, size_t n) {
    BatchCounts counts = {.flows = n};
    for (size_t i = 0; i < n; i++) {
        counts.packets += records[i].packets + records[i].rev_packets;
        counts.octets += records[i].octets + records[i].rev_octets;
    }
    return counts;
}

/* as many as the message takes; the flows it is done with, 0: the limit is reached */
static size_t fill(Doors *doors, Way *way, const FlowRecord *records, size_t n) {
    NetflowTaken taken;
    do {
        const uint64_t now_ms = clock_monotonic_ms();
        if (is_due(doors, way, now_ms))
            announce(doors, way, now_ms);
        const NetflowRoom room = {.bytes = room_bytes(way), .records = allowed(doors)};
        if (!way->message.records)
            way->begun_ms = now_ms;
        if (netflow_add(&way->stream, &way->message, records, n, &room, export_time(doors),
                        &taken)) {
            const BatchCounts lost = counts_of(records, n);
            lose(doors, way, n, &lost);
            netflow_clear(&way->message);
            return n;
        }
        account(doors, &taken);
        way->unsent = batch_counts_add(way->unsent, taken.left_out);
        if (taken.full)
            flush(doors, way);
    } while (taken.flows == 0 && taken.full);
    return taken.flows;
}

/* --- records ------------------------------------------------------------------------------ */

/* only: all to this one; NULL: a message to each in turn */
static void messages(Doors *doors, Way *only, const FlowRecord *records, size_t n) {
    for (size_t at = 0; at < n;) {
        Way *way = only ? only : &doors->ways[doors->next % doors->n];
        const size_t done = fill(doors, way, records + at, n - at);
        if (!done) {
            const BatchCounts counts = counts_of(records + at, n - at);
            way->unsent = batch_counts_add(way->unsent, counts);
            withhold(doors, n - at);
            return;
        }
        at += done;
    }
}

/* rates of sampling that are new are told before the flows */
static void learn(Doors *doors, const FlowRecord *records, size_t n) {
    uint32_t last = 1;
    for (size_t i = 0; i < n; i++) {
        if (records[i].last_ms > doors->newest_ms)
            doors->newest_ms = records[i].last_ms;
        if (records[i].sampling == last)
            continue;
        last = records[i].sampling;
        for (size_t k = 0; k < doors->n; k++)
            if (netflow_learn(&doors->ways[k].stream, last))
                doors->ways[k].templates_ms = 0; /* due */
    }
}

void doors_batch(Doors *doors, const FlowRecord *records, size_t n) {
    learn(doors, records, n);
    if (!doors->config.all)
        messages(doors, NULL, records, n);
    for (size_t i = 0; doors->config.all && i < doors->n; i++)
        messages(doors, &doors->ways[i], records, n);
    doors_tick(doors);
}

void doors_tick(Doors *doors) {
    const uint64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < doors->n; i++) {
        Way *way = &doors->ways[i];
        if (is_due(doors, way, now_ms))
            announce(doors, way, now_ms);
        if (now_ms - way->begun_ms >= doors->config.linger_ms)
            flush(doors, way);
        door_hand_over(way->door);
    }
}

void doors_metered(Doors *doors, const DoorsMetered *metered) {
    (void)pthread_mutex_lock(&doors->lock);
    doors->metered = *metered;
    (void)pthread_mutex_unlock(&doors->lock);
}

/* the last that a collector hears: what was not sent, and over TCP that templates are no more */
static void close_way(Doors *doors, Way *way) {
    Buffer farewell = {0};
    flush(doors, way);
    if (doors->config.version != NETFLOW_5)
        announce(doors, way, clock_monotonic_ms());
    netflow_withdraw(&way->stream, export_time(doors), &farewell);
    if (!farewell.failed)
        door_farewell(way->door, farewell.bytes, farewell.size);
    buffer_deinit(&farewell);
}

void doors_finish(Doors *doors, unsigned timeout_ms) {
    const uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    for (size_t i = 0; i < doors->n; i++)
        close_way(doors, &doors->ways[i]);
    for (size_t i = 0; i < doors->n; i++) {
        const uint64_t now_ms = clock_monotonic_ms();
        door_finish(doors->ways[i].door, now_ms < end_ms ? (unsigned)(end_ms - now_ms) : 0);
    }
}

void doors_status(Doors *doors, DoorsStatus *status) {
    *status = (DoorsStatus){0};
    for (size_t i = 0; i < doors->n; i++) {
        DoorStatus one;
        door_status(doors->ways[i].door, &one);
        status->sum.sent_messages += one.sent_messages;
        status->sum.sent_records += one.sent_records;
        status->sum.failed_messages += one.failed_messages;
        status->sum.failed_records += one.failed_records;
        status->sum.waiting_messages += one.waiting_messages;
    }
    (void)pthread_mutex_lock(&doors->lock);
    status->sum.failed_records += doors->lost_records;
    status->unfit_flows = doors->unfit_flows;
    status->withheld_flows = doors->withheld_flows;
    status->limited = doors->limited;
    if (doors->limited && doors->used_records < DOORS_LIMIT_RECORDS)
        status->left_records = DOORS_LIMIT_RECORDS - doors->used_records;
    (void)pthread_mutex_unlock(&doors->lock);
}
