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
    DATAGRAM_BYTES = 1400, /* fits an Ethernet frame, through a tunnel or two */
    STREAM_BYTES = 16000,
    TEMPLATES_MS = 10000,
};

typedef struct Way {
    NetflowStream stream;
    Door *door;
    bool tcp;
    uint32_t since_templates; /* messages */
    uint64_t templates_ms;
} Way;

struct Doors {
    DoorsConfig config;
    size_t n;
    size_t next; /* whose turn it is */
    uint64_t newest_ms;
    Buffer message;

    pthread_mutex_t lock; /* of what follows */
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

int doors_check(const DoorsConfig *config, Reason *reason) {
    const OptionList *collectors = config->collectors;
    DoorAddress address;
    int r = 0;
    if (!doors_wanted(collectors))
        return 0;
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

static int open_way(Doors *doors, Way *way, const char *text, Reason *reason) {
    DoorAddress address;
    int r = door_parse(&address, text, reason);
    if (r)
        return r;
    way->tcp = address.tcp;
    way->since_templates = doors->config.templates_messages;
    const NetflowShape shape = {.version = doors->config.version,
                                .first_template = (uint16_t)doors->config.first_template,
                                .told = address.tcp};
    netflow_stream_init(&way->stream, &shape);
    return error_trace(door_new(&way->door, &address, &way->stream, doors->config.patient));
}

int doors_new(Doors **doorsp, const DoorsConfig *config, Reason *reason) {
    const OptionList *collectors = config->collectors;
    cleanup(doors_freep) Doors *doors = calloc(1, sizeof(*doors) + collectors->n * sizeof(Way));
    if (!doors)
        return error_origin(-ENOMEM);
    (void)pthread_mutex_init(&doors->lock, NULL);
    doors->config = *config;
    doors->limited = config->limited;
    if (!config->first_template)
        doors->config.first_template = NETFLOW_TEMPLATE_MIN;
    if (!config->templates_messages)
        doors->config.templates_messages = DOORS_TEMPLATES_MESSAGES;
    for (; doors->n < collectors->n; doors->n++) {
        int r = open_way(doors, &doors->ways[doors->n], collectors->values[doors->n], reason);
        if (r)
            return r > 0 ? DOORS_E_USAGE : error_trace(r);
    }
    *doorsp = doors;
    doors = NULL;
    return 0;
}

Doors *doors_free(Doors *doors) {
    if (!doors)
        return NULL;
    for (size_t i = 0; i < doors->n; i++)
        door_free(doors->ways[i].door);
    buffer_deinit(&doors->message);
    (void)pthread_mutex_destroy(&doors->lock);
    free(doors);
    return NULL;
}

void doors_finish(Doors *doors, unsigned timeout_ms) {
    const uint64_t end_ms = clock_monotonic_ms() + timeout_ms;
    for (size_t i = 0; i < doors->n; i++) {
        const uint64_t now_ms = clock_monotonic_ms();
        door_finish(doors->ways[i].door, now_ms < end_ms ? (unsigned)(end_ms - now_ms) : 0);
    }
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

/* --- records ------------------------------------------------------------------------------ */

static bool templates_due(const Doors *doors, const Way *way, uint64_t now_ms) {
    return !way->tcp && doors->config.version != NETFLOW_5 &&
           (way->since_templates >= doors->config.templates_messages ||
            now_ms - way->templates_ms >= TEMPLATES_MS);
}

/* n, of at least a record each */
static size_t lose(Doors *doors, size_t n) {
    (void)pthread_mutex_lock(&doors->lock);
    doors->lost_records += n;
    (void)pthread_mutex_unlock(&doors->lock);
    return n;
}

/* one message; the flows it is done with, 0: the limit is reached */
static size_t one_message(Doors *doors, Way *way, const FlowRecord *records, size_t n) {
    const uint64_t now_ms = clock_monotonic_ms();
    const uint64_t export_ms = doors->config.patient ? doors->newest_ms : clock_wall_ms();
    NetflowTaken taken = {0};
    NetflowRoom room = {.bytes = way->tcp ? STREAM_BYTES : DATAGRAM_BYTES,
                        .records = allowed(doors),
                        .templates = templates_due(doors, way, now_ms)};
    Buffer *message = &doors->message;
    do {
        buffer_clear(message);
        if (netflow_encode(&way->stream, message, records, n, &room, export_ms, &taken))
            return lose(doors, n); /* no memory: nothing was sent of it */
        if (message->size)
            door_send(way->door, message->bytes, message->size, taken.records);
        account(doors, &taken);
        if (room.templates) {
            way->since_templates = 0;
            way->templates_ms = now_ms;
        }
        way->since_templates += message->size != 0;
        room.templates = false;
    } while (taken.flows == 0 && message->size); /* it had templates only */
    return taken.flows;
}

/* only: all to this one; NULL: a message to each in turn */
static void messages(Doors *doors, Way *only, const FlowRecord *records, size_t n) {
    for (size_t at = 0; at < n;) {
        Way *way = only ? only : &doors->ways[doors->next++ % doors->n];
        size_t done = one_message(doors, way, records + at, n - at);
        if (!done) {
            withhold(doors, n - at);
            return;
        }
        at += done;
    }
}

void doors_batch(Doors *doors, const FlowRecord *records, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (records[i].last_ms > doors->newest_ms)
            doors->newest_ms = records[i].last_ms;
    if (!doors->config.all)
        messages(doors, NULL, records, n);
    for (size_t i = 0; doors->config.all && i < doors->n; i++)
        messages(doors, &doors->ways[i], records, n);
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
