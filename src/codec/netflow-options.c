/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Options records: what is said of the exporter, not of a flow.
 *
 *   sampler     how flows that name it were sampled: PSAMP's selectors (RFC 5477) in IPFIX, the
 *               types 48 to 50 in v9, which its readers know
 *   exporter    what was sent, and of flows what was not (RFC 7011 sections 4.1 and 4.3); its name
 *   metering    what was seen and not metered (section 4.2)
 *   interface   its name
 */

#include <string.h>

#include "codec/ipfix-wire.h"
#include "codec/netflow-inside.h"

enum {
    V9_SCOPE_SYSTEM = 1,
    V9_SCOPE_INTERFACE = 2,
    V9_NAME_BYTES = 32,
    PROCESS_ID = 1,
    RANDOM_N_OF_N = 3, /* selectorAlgorithm */
    V9_MODE_RANDOM = 2,
};

typedef enum Kind { SAMPLER, EXPORTER, METERING, INTERFACE, _KIND_N } Kind;

_Static_assert((int)_KIND_N == NETFLOW_OPTIONS, "a template each");

typedef enum Value {
    NOTHING,
    SAMPLER_ID,
    ALGORITHM,
    MODE,
    ONE,
    RATE,
    RATE_LESS_ONE,
    PROCESS,
    SYSTEM,
    NAME,
    INIT_MS,
    SENT_MESSAGES,
    SENT_RECORDS,
    SENT_OCTETS,
    UNSENT_FLOWS,
    UNSENT_PACKETS,
    UNSENT_OCTETS,
    IGNORED_PACKETS,
    IGNORED_OCTETS,
    DROPPED_PACKETS,
    OBSERVED_FLOWS,
    INTERFACE_INDEX,
    INTERFACE_NAME,
} Value;

typedef struct Field {
    uint16_t element; /* of v9 scopes, their type; 0: the end */
    uint8_t width;    /* 0: a text */
    Value value;
} Field;

enum { FIELDS_MAX = 10 };

/* the first one is the scope */
static const Field ipfix_fields[_KIND_N][FIELDS_MAX] = {
    [SAMPLER] = {{302, 4, SAMPLER_ID},
                 {304, 2, ALGORITHM},
                 {305, 4, ONE},
                 {306, 4, RATE_LESS_ONE},
                 {309, 4, ONE},
                 {310, 4, RATE}},
    [EXPORTER] = {{144, 4, PROCESS},
                  {160, 8, INIT_MS},
                  {41, 8, SENT_MESSAGES},
                  {42, 8, SENT_RECORDS},
                  {40, 8, SENT_OCTETS},
                  {166, 8, UNSENT_FLOWS},
                  {167, 8, UNSENT_PACKETS},
                  {168, 8, UNSENT_OCTETS},
                  {300, 0, NAME}},
    [METERING] = {{143, 4, PROCESS},
                  {163, 8, OBSERVED_FLOWS},
                  {164, 8, IGNORED_PACKETS},
                  {165, 8, IGNORED_OCTETS},
                  {135, 8, DROPPED_PACKETS}},
    [INTERFACE] = {{10, 4, INTERFACE_INDEX}, {82, 0, INTERFACE_NAME}},
};

static const Field v9_fields[_KIND_N][FIELDS_MAX] = {
    [SAMPLER] = {{V9_SCOPE_SYSTEM, 4, SYSTEM}, {48, 4, SAMPLER_ID}, {49, 1, MODE}, {50, 4, RATE}},
    [EXPORTER] = {{V9_SCOPE_SYSTEM, 4, SYSTEM},
                  {41, 8, SENT_MESSAGES},
                  {42, 8, SENT_RECORDS},
                  {40, 8, SENT_OCTETS},
                  {166, 8, UNSENT_FLOWS}},
    [METERING] = {{V9_SCOPE_SYSTEM, 4, SYSTEM},
                  {163, 8, OBSERVED_FLOWS},
                  {164, 8, IGNORED_PACKETS},
                  {135, 8, DROPPED_PACKETS}},
    [INTERFACE] = {{V9_SCOPE_INTERFACE, 4, INTERFACE_INDEX}, {82, 0, INTERFACE_NAME}},
};

static const Field *fields_of(const NetflowStream *stream, Kind kind) {
    return stream->version == NETFLOW_9 ? v9_fields[kind] : ipfix_fields[kind];
}

static uint16_t id_of(const NetflowStream *stream, Kind kind) {
    return (uint16_t)(stream->first_template + NETFLOW_VARIANTS + kind);
}

static size_t count(const Field *fields) {
    size_t n = 0;
    while (n < FIELDS_MAX && fields[n].element)
        n++;
    return n;
}

static void template_write(Buffer *to, const NetflowStream *stream, Kind kind) {
    const bool v9 = stream->version == NETFLOW_9;
    const Field *fields = fields_of(stream, kind);
    const size_t n = count(fields);
    buffer_put_u16(to, id_of(stream, kind));
    if (v9) { /* lengths in bytes, of scopes and of the rest */
        buffer_put_u16(to, 4);
        buffer_put_u16(to, (uint16_t)(4 * (n - 1)));
    } else {
        buffer_put_u16(to, (uint16_t)n);
        buffer_put_u16(to, 1);
    }
    for (size_t i = 0; i < n; i++) {
        buffer_put_u16(to, fields[i].element);
        buffer_put_u16(to, fields[i].width ? fields[i].width : v9 ? V9_NAME_BYTES : IPFIX_VARIABLE);
    }
}

/* some readers of v9 take one template a set */
size_t netflow_options_templates(Buffer *to, const NetflowStream *stream) {
    for (Kind kind = 0; kind < _KIND_N; kind++) {
        const size_t start = to->size;
        buffer_put_u16(to, stream->version == NETFLOW_9 ? V9_SET_OPTIONS : IPFIX_SET_OPTIONS);
        buffer_put_u16(to, 0);
        template_write(to, stream, kind);
        while (stream->version == NETFLOW_9 && (to->size - start) % 4 && !to->failed)
            buffer_put_u8(to, 0);
        if (!to->failed)
            buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
    }
    return _KIND_N;
}

/* --- records ------------------------------------------------------------------------------ */

typedef struct Source {
    const NetflowStream *stream;
    const NetflowFacts *facts;
    size_t rate; /* its index */
} Source;

static uint64_t number(const Source *source, Value value) {
    const NetflowFacts *facts = source->facts;
    const NetflowStream *stream = source->stream;
    const uint32_t rate = source->rate < stream->n_rates ? stream->rates[source->rate] : 1;
    const uint64_t numbers[] = {
        [SAMPLER_ID] = source->rate + 1,
        [ALGORITHM] = RANDOM_N_OF_N,
        [MODE] = V9_MODE_RANDOM,
        [ONE] = 1,
        [RATE] = rate,
        [RATE_LESS_ONE] = rate - 1,
        [PROCESS] = PROCESS_ID,
        [SYSTEM] = stream->domain,
        [INIT_MS] = facts->init_ms,
        [SENT_MESSAGES] = stream->messages,
        [SENT_RECORDS] = stream->records,
        [SENT_OCTETS] = stream->octets,
        [UNSENT_FLOWS] = facts->unsent_flows,
        [UNSENT_PACKETS] = facts->unsent_packets,
        [UNSENT_OCTETS] = facts->unsent_octets,
        [IGNORED_PACKETS] = facts->ignored_packets,
        [IGNORED_OCTETS] = facts->ignored_octets,
        [DROPPED_PACKETS] = facts->dropped_packets,
        [OBSERVED_FLOWS] = facts->observed_flows,
        [INTERFACE_INDEX] = facts->interface_index,
    };
    return value < sizeof(numbers) / sizeof(numbers[0]) ? numbers[value] : 0;
}

static void put_name(Buffer *to, const char *name, bool v9) {
    enum { NAME_MAX_BYTES = 254 };
    const size_t all = name ? strlen(name) : 0;
    const size_t most = v9 ? V9_NAME_BYTES : NAME_MAX_BYTES;
    const size_t size = all < most ? all : most;
    if (!v9)
        buffer_put_u8(to, (uint8_t)size);
    if (size)
        buffer_put(to, name, size);
    for (size_t i = size; v9 && i < V9_NAME_BYTES; i++)
        buffer_put_u8(to, 0);
}

static void put_record(Buffer *to, const Source *source, Kind kind) {
    const Field *fields = fields_of(source->stream, kind);
    for (size_t i = 0; i < count(fields); i++) {
        const Field *field = &fields[i];
        if (!field->width)
            put_name(to, field->value == NAME ? source->facts->name : source->facts->interface,
                     source->stream->version == NETFLOW_9);
        for (unsigned k = field->width; k > 0; k--)
            buffer_put_u8(to, (uint8_t)(number(source, field->value) >> (8 * (k - 1))));
    }
}

size_t netflow_options_records(const NetflowStream *stream, NetflowMessage *message,
                               const NetflowFacts *facts) {
    const size_t many[_KIND_N] = {[SAMPLER] = stream->n_rates,
                                  [EXPORTER] = 1,
                                  [METERING] = 1,
                                  [INTERFACE] = facts->interface != NULL};
    size_t n = 0;
    for (Kind kind = 0; kind < _KIND_N; kind++) {
        if (!many[kind])
            continue;
        netflow_set_open(message, id_of(stream, kind));
        for (size_t i = 0; i < many[kind]; i++) {
            const Source source = {.stream = stream, .facts = facts, .rate = i};
            put_record(&message->bytes, &source, kind);
        }
        netflow_set_close(stream, message);
        n += many[kind];
    }
    return n;
}
