/* SPDX-License-Identifier: Apache-2.0 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/exporters_inside.h"

#define NUMBER_MAX (UINT64_C(1) << 53) /* JavaScript counts no further */

enum { ROWS_MAX = 1024, NAME_BYTES_MAX = 256 };

const char *const exporter_state_names[_EXPORTER_STATE_N] = {
    [EXPORTER_SENDING] = "sending",
    [EXPORTER_ATTENTION] = "attention",
    [EXPORTER_SILENT] = "silent",
    [EXPORTER_UNKNOWN] = "unknown",
};

/* --- taking --- */

static uint64_t value(const json_t *v) {
    const json_int_t n = json_integer_value(v);
    return n <= 0 ? 0 : (uint64_t)n < NUMBER_MAX ? (uint64_t)n : NUMBER_MAX;
}

static uint64_t number(const json_t *object, const char *name) {
    return value(json_object_get(object, name));
}

static bool address(NetAddress *to, const json_t *v) {
    const char *text = json_string_value(v);
    *to = (NetAddress){0};
    return text && net_address_parse(to, text);
}

static void take_text(char *to, size_t size, const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    (void)snprintf(to, size, "%s", text ? text : "");
}

static uint64_t wrong_of(const uint64_t numbers[_EXPORTER_NUMBER_N]) {
    return numbers[EXPORTER_LOST] + numbers[EXPORTER_DROPPED] + numbers[EXPORTER_NO_TEMPLATE] +
           numbers[EXPORTER_MALFORMED];
}

static ExporterAnchor anchor(const ExporterDomain *d, uint64_t now_ms) {
    return (ExporterAnchor){.at_ms = now_ms,
                            .flows = d->numbers[EXPORTER_FLOWS],
                            .datagrams = d->numbers[EXPORTER_DATAGRAMS],
                            .wrong = wrong_of(d->numbers)};
}

/* what rates are reckoned from: a moment one to two EXPORTERS_RATE_MS ago */
static void move_anchors(ExporterDomain *d, uint64_t now_ms) {
    if (now_ms - d->anchors[1].at_ms < EXPORTERS_RATE_MS)
        return;
    d->anchors[0] = d->anchors[1].at_ms ? d->anchors[1] : anchor(d, now_ms);
    d->anchors[1] = anchor(d, now_ms);
}

/* one that began just now counts from 0, another from here on */
static void begin_anchors(ExporterDomain *d, uint64_t now_ms) {
    const bool fresh = now_ms - d->first_ms < EXPORTERS_RATE_MS && d->first_ms < now_ms;
    d->anchors[0] = fresh ? (ExporterAnchor){.at_ms = d->first_ms} : anchor(d, now_ms);
    d->anchors[1] = d->anchors[0];
}

/* by the hub's clock: as long ago as it was by the probe's */
static uint64_t ago(uint64_t at_ms, uint64_t time_ms, uint64_t now_ms) {
    if (!at_ms)
        return 0;
    const uint64_t since_ms = time_ms > at_ms ? time_ms - at_ms : 0;
    return now_ms > since_ms ? now_ms - since_ms : 1;
}

static void take_row(Exporters *exporters, const PeerKey *probe, const json_t *row,
                     uint64_t time_ms, uint64_t now_ms) {
    NetAddress ip;
    if (!address(&ip, json_object_get(row, "ip")))
        return;
    Exporter *e = exporters_find_new(exporters, probe, &ip);
    ExporterDomain *d =
        e ? exporter_domain(e, (uint32_t)number(row, "version"), (uint32_t)number(row, "domain"),
                            (uint32_t)number(row, "sub_agent"))
          : NULL;
    if (!d)
        return;
    take_text(e->name, sizeof(e->name), row, "name");
    take_text(e->site, sizeof(e->site), row, "site");
    const uint64_t run = number(row, "id") ^ number(row, "first_ms");
    if (d->run == run)
        move_anchors(d, now_ms); /* with the numbers as they were until now */
    for (int i = 0; i < _EXPORTER_NUMBER_N; i++)
        d->numbers[i] = number(row, exporter_number_names[i]);
    d->tcp = json_is_true(json_object_get(row, "tcp"));
    d->sampling = (uint32_t)number(row, "sampling");
    take_text(d->sampling_from, sizeof(d->sampling_from), row, "sampling_from");
    (void)address(&d->from, json_object_get(row, "from"));
    const uint64_t first_ms = ago(number(row, "first_ms"), time_ms, now_ms);
    d->first_ms = d->first_ms && d->first_ms < first_ms ? d->first_ms : first_ms;
    d->last_ms = ago(number(row, "last_ms"), time_ms, now_ms);
    if (d->run != run)
        begin_anchors(d, now_ms);
    d->run = run;
    d->told_ms = now_ms;
    e->dirty = true;
}

static void take_name(Exporters *exporters, const PeerKey *probe, const json_t *row) {
    NetAddress ip;
    const char *kind_name = json_string_value(json_array_get(row, 1));
    const char *text = json_string_value(json_array_get(row, 3));
    int kind = 0;
    while (kind_name && kind < _EXPORTER_NAME_N &&
           strcmp(kind_name, exporter_name_kinds[kind]) != 0)
        kind++;
    if (!kind_name || !text || kind == _EXPORTER_NAME_N || !address(&ip, json_array_get(row, 0)))
        return;
    Exporter *e = exporters_find_new(exporters, probe, &ip);
    const uint64_t key = value(json_array_get(row, 2));
    bool found = false;
    if (!e)
        return;
    const size_t at = exporter_name_place(e, (ExporterNameKind)kind, key, &found);
    if (found && strcmp(e->names[at].text, text) == 0)
        return;
    if (!found && e->n_names == e->names_room) {
        const size_t room = e->names_room ? 2 * e->names_room : 16;
        ExporterName *more =
            room <= EXPORTERS_NAMES_MAX ? realloc(e->names, room * sizeof(*more)) : NULL;
        if (!more)
            return;
        e->names = more;
        e->names_room = room;
    }
    char *copy = strndup(text, NAME_BYTES_MAX);
    if (!copy)
        return;
    if (found) {
        free(e->names[at].text);
    } else {
        memmove(&e->names[at + 1], &e->names[at], (e->n_names - at) * sizeof(*e->names));
        e->n_names++;
    }
    e->names[at] = (ExporterName){.kind = (uint8_t)kind, .key = key, .text = copy};
}

/* --- interfaces --- */

static ExporterInterface *interface_of(Exporter *e, uint32_t sub_agent, uint32_t index) {
    const uint64_t wanted = (uint64_t)sub_agent << 32 | index;
    size_t at = 0;
    size_t high = e->n_interfaces;
    while (at < high) {
        const size_t middle = at + (high - at) / 2;
        const ExporterInterface *i = &e->interfaces[middle];
        if (((uint64_t)i->sub_agent << 32 | i->index) < wanted)
            at = middle + 1;
        else
            high = middle;
    }
    if (at < e->n_interfaces && e->interfaces[at].sub_agent == sub_agent &&
        e->interfaces[at].index == index)
        return &e->interfaces[at];
    if (e->n_interfaces == e->interfaces_room) {
        const size_t room = e->interfaces_room ? 2 * e->interfaces_room : 8;
        ExporterInterface *more =
            room <= EXPORTERS_INTERFACES_MAX ? realloc(e->interfaces, room * sizeof(*more)) : NULL;
        if (!more)
            return NULL;
        e->interfaces = more;
        e->interfaces_room = room;
    }
    memmove(&e->interfaces[at + 1], &e->interfaces[at],
            (e->n_interfaces - at) * sizeof(*e->interfaces));
    e->n_interfaces++;
    e->interfaces[at] = (ExporterInterface){.sub_agent = sub_agent, .index = index};
    return &e->interfaces[at];
}

/* discards and errors are counters of 32 bits, which go round */
uint64_t exporter_interface_grown(const ExporterInterface *i, InterfaceNumber which) {
    const uint64_t now = i->now[which];
    const uint64_t then = i->before[which];
    if (!i->before[INTERFACE_TIME_MS])
        return 0;
    if (now >= then)
        return now - then;
    return which == INTERFACE_IN_DISCARDS || which == INTERFACE_IN_ERRORS ||
                   which == INTERFACE_OUT_DISCARDS || which == INTERFACE_OUT_ERRORS
               ? (uint32_t)(now - then)
               : 0;
}

static void take_interface(Exporters *exporters, const PeerKey *probe, const json_t *row,
                           uint64_t time_ms, uint64_t now_ms) {
    NetAddress ip;
    if (json_array_size(row) < 3 + _INTERFACE_NUMBER_N || !address(&ip, json_array_get(row, 0)))
        return;
    Exporter *e = exporters_find_new(exporters, probe, &ip);
    ExporterInterface *i = e ? interface_of(e, (uint32_t)value(json_array_get(row, 1)),
                                            (uint32_t)value(json_array_get(row, 2)))
                             : NULL;
    if (!i)
        return;
    uint64_t now[_INTERFACE_NUMBER_N];
    for (size_t k = 0; k < _INTERFACE_NUMBER_N; k++)
        now[k] = value(json_array_get(row, 3 + k));
    now[INTERFACE_TIME_MS] = ago(now[INTERFACE_TIME_MS], time_ms, now_ms);
    if (i->received && i->now[INTERFACE_RUN] == now[INTERFACE_RUN] &&
        i->now[INTERFACE_SAMPLED] == now[INTERFACE_SAMPLED])
        return; /* told twice */
    const bool goes_on = i->now[INTERFACE_RUN] == now[INTERFACE_RUN] &&
                         now[INTERFACE_SAMPLED] > i->now[INTERFACE_SAMPLED] &&
                         now[INTERFACE_TIME_MS] > i->now[INTERFACE_TIME_MS];
    memset(i->before, 0, sizeof(i->before));
    if (goes_on)
        memcpy(i->before, i->now, sizeof(i->before));
    else
        i->received = 0;
    memcpy(i->now, now, sizeof(i->now));
    i->received++;
    if (!goes_on)
        return;
    StoreCounter grown = {.exporter = e->id,
                          .sub_agent = i->sub_agent,
                          .interface = i->index,
                          .at_ms = now[INTERFACE_TIME_MS],
                          .ms = now[INTERFACE_TIME_MS] - i->before[INTERFACE_TIME_MS]};
    for (size_t k = 0; k < _STORE_COUNTER_N; k++)
        grown.grown[k] = exporter_interface_grown(i, (InterfaceNumber)(INTERFACE_IN_OCTETS + k));
    exporters_grown(exporters, &grown);
}

/* --- a report --- */

void exporters_take(Exporters *exporters, const PeerKey *probe, const json_t *report,
                    uint64_t time_ms, uint64_t now_ms) {
    size_t i;
    const json_t *row;
    if (!report)
        return;
    exporters_begin(exporters);
    json_array_foreach(json_object_get(report, "rows"), i, row) {
        if (i < ROWS_MAX)
            take_row(exporters, probe, row, time_ms, now_ms);
    }
    json_array_foreach(json_object_get(report, "names"), i, row) {
        if (i < ROWS_MAX)
            take_name(exporters, probe, row);
    }
    json_array_foreach(json_object_get(report, "interfaces"), i, row) {
        if (i < ROWS_MAX)
            take_interface(exporters, probe, row, time_ms, now_ms);
    }
    exporters_unlock(exporters);
}

/* --- what it means --- */

static double rate(uint64_t now, uint64_t then, uint64_t ms) {
    return ms && now > then ? (double)(now - then) * 1000 / (double)ms : 0;
}

static uint64_t since(const ExporterDomain *d, uint64_t now_ms) {
    return d->anchors[0].at_ms && now_ms > d->anchors[0].at_ms ? now_ms - d->anchors[0].at_ms : 0;
}

double exporter_domain_rate(const ExporterDomain *d, uint64_t now_ms) {
    /* no report for so long: nothing came */
    if (now_ms - d->told_ms > 2 * (uint64_t)EXPORTERS_RATE_MS)
        return 0;
    return rate(d->numbers[EXPORTER_FLOWS], d->anchors[0].flows, since(d, now_ms));
}

ExporterSum exporter_sum(const Exporter *exporter, uint64_t now_ms) {
    ExporterSum sum = {0};
    for (const ExporterDomain *d = exporter->domains; d; d = d->next) {
        const uint64_t ms = since(d, now_ms);
        const bool fresh = now_ms - d->told_ms <= 2 * (uint64_t)EXPORTERS_RATE_MS;
        for (int i = 0; i < _EXPORTER_NUMBER_N; i++)
            sum.numbers[i] += d->numbers[i];
        if (!sum.first_ms || d->first_ms < sum.first_ms)
            sum.first_ms = d->first_ms;
        if (!sum.newest || d->last_ms > sum.last_ms) {
            sum.last_ms = d->last_ms;
            sum.newest = d;
        }
        sum.flows_per_s += exporter_domain_rate(d, now_ms);
        if (!fresh)
            continue;
        sum.datagrams_per_s += rate(d->numbers[EXPORTER_DATAGRAMS], d->anchors[0].datagrams, ms);
        const uint64_t wrong = wrong_of(d->numbers);
        sum.wrong += wrong > d->anchors[0].wrong ? wrong - d->anchors[0].wrong : 0;
    }
    return sum;
}

static void span(char *text, size_t size, uint64_t ms) {
    const uint64_t s = ms / 1000;
    if (s < 120)
        (void)snprintf(text, size, "%" PRIu64 " s", s);
    else if (s < 7200)
        (void)snprintf(text, size, "%" PRIu64 " min", s / 60);
    else
        (void)snprintf(text, size, "%" PRIu64 " h", s / 3600);
}

ExporterState exporter_state(const Exporter *exporter, const ExporterSum *sum, bool probe_is_there,
                             uint64_t now_ms, char *text, size_t size) {
    char for_so_long[32];
    const uint64_t *n = sum->numbers;
    const uint64_t quiet_ms = now_ms > sum->last_ms ? now_ms - sum->last_ms : 0;
    span(for_so_long, sizeof(for_so_long), quiet_ms);
    if (!probe_is_there) {
        (void)snprintf(text, size,
                       "its probe is not connected: what it sends now is not known here");
        return EXPORTER_UNKNOWN;
    }
    if (!exporter->domains) {
        (void)snprintf(text, size, "nothing came from it so far");
        return EXPORTER_SILENT;
    }
    if (quiet_ms >= EXPORTERS_SILENT_MS) {
        (void)snprintf(text, size,
                       "no datagram for %s: it stopped exporting, its way is blocked, or its "
                       "address changed",
                       for_so_long);
        return EXPORTER_SILENT;
    }
    if (!n[EXPORTER_FLOWS] && n[EXPORTER_HELD])
        (void)snprintf(text, size, "its data waits for templates, which it has still to send");
    else if (!n[EXPORTER_FLOWS] && n[EXPORTER_NO_TEMPLATE])
        (void)snprintf(text, size, "no flows: it never sent the templates of its data");
    else if (!n[EXPORTER_FLOWS] && n[EXPORTER_MALFORMED])
        (void)snprintf(text, size, "no flows: what it sends cannot be read");
    else if (!n[EXPORTER_FLOWS])
        (void)snprintf(text, size, "no flows yet: only templates, options or counters came");
    else if (sum->wrong)
        (void)snprintf(text, size, "%" PRIu64 " of the last minute not decoded", sum->wrong);
    else {
        (void)snprintf(text, size, "sending");
        return EXPORTER_SENDING;
    }
    return EXPORTER_ATTENTION;
}
