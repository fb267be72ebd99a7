/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "hub/api.h"
#include "hub/hub.h"

enum { VERSION_SFLOW = 245 };

/* --- what is known of the probes, looked up once an answer --- */

typedef struct ProbeView {
    PeerKey key;
    uint32_t number;
    char name[256];
    bool there;
} ProbeView;

typedef struct ProbeViews {
    ProbeView *rows;
    size_t n, room;
    uint64_t now_ms;
} ProbeViews;

static void view_probe(void *context, const Probe *probe) {
    ProbeViews *views = context;
    if (views->n == views->room) {
        const size_t room = views->room ? 2 * views->room : 64;
        ProbeView *more = realloc(views->rows, room * sizeof(*more));
        if (!more)
            return;
        views->rows = more;
        views->room = room;
    }
    ProbeView *view = &views->rows[views->n++];
    *view = (ProbeView){.key = probe->key,
                        .number = probe->number,
                        .there = probe->connected && probe->pulse_ms &&
                                 views->now_ms < probe->pulse_ms + PROBES_SILENT_MS};
    (void)snprintf(view->name, sizeof(view->name), "%s", probes_name(probe));
}

static int compare_view(const void *a, const void *b) {
    return strcmp(((const ProbeView *)a)->key.z85, ((const ProbeView *)b)->key.z85);
}

static ProbeViews views_make(Hub *hub, uint64_t now_ms) {
    ProbeViews views = {.now_ms = now_ms};
    probes_walk(hub->probes, view_probe, &views);
    if (views.n)
        qsort(views.rows, views.n, sizeof(*views.rows), compare_view);
    return views;
}

static const ProbeView *view_of(const ProbeViews *views, const PeerKey *key) {
    static const ProbeView unknown = {.name = "forgotten"};
    ProbeView wanted = {.key = *key};
    const ProbeView *found =
        views->n ? bsearch(&wanted, views->rows, views->n, sizeof(wanted), compare_view) : NULL;
    return found ? found : &unknown;
}

/* --- one exporter --- */

static const char *unit_of(uint32_t version) {
    return version == 5 || version == 7 ? "flows" : version == 10 ? "records" : "datagrams";
}

static void version_text(uint32_t version, char *to, size_t size) {
    if (version == VERSION_SFLOW)
        (void)snprintf(to, size, "sFlow v5");
    else if (version == 10)
        (void)snprintf(to, size, "IPFIX");
    else
        (void)snprintf(to, size, "NetFlow v%" PRIu32, version);
}

static void write_versions(Json *json, const Exporter *exporter) {
    char text[32];
    uint32_t before = 0;
    json_array_begin(json, "versions");
    for (const ExporterDomain *d = exporter->domains; d; d = d->next) { /* in their order */
        if (d->version == before)
            continue;
        before = d->version;
        version_text(d->version, text, sizeof(text));
        json_text(json, NULL, text);
    }
    json_array_end(json);
}

static void write_numbers(Json *json, const uint64_t numbers[_EXPORTER_NUMBER_N]) {
    for (int i = 0; i < _EXPORTER_NUMBER_N; i++)
        json_u64(json, exporter_number_names[i], numbers[i]);
}

/* units of several kinds cannot be added up: then it is a sum of both, and called mixed */
static const char *unit_of_all(const Exporter *exporter) {
    const char *unit = NULL;
    for (const ExporterDomain *d = exporter->domains; d; d = d->next) {
        const char *its = unit_of(d->version);
        if (unit && strcmp(unit, its) != 0)
            return "mixed";
        unit = its;
    }
    return unit ? unit : "datagrams";
}

typedef struct Row {
    const Exporter *exporter;
    const ProbeView *probe;
    ExporterSum sum;
    ExporterState state;
    char text[160];
} Row;

static Row row_of(const Exporter *exporter, const ProbeViews *views) {
    Row row = {.exporter = exporter,
               .probe = view_of(views, &exporter->probe),
               .sum = exporter_sum(exporter, views->now_ms)};
    row.state = exporter_state(exporter, &row.sum, row.probe->there, views->now_ms, row.text,
                               sizeof(row.text));
    return row;
}

static void write_members(Json *json, const Row *row) {
    const Exporter *e = row->exporter;
    const ExporterDomain *newest = row->sum.newest;
    char text[NET_ADDRESS_TEXT_MAX];
    json_u64(json, "id", e->id);
    json_text(json, "probe_key", e->probe.z85);
    json_text(json, "probe", row->probe->name);
    json_u64(json, "probe_id", row->probe->number);
    json_text(json, "ip", net_address_format(&e->ip, text));
    json_text(json, "from", newest ? net_address_format(&newest->from, text) : "");
    json_text(json, "name", e->name);
    json_text(json, "site", e->site);
    write_versions(json, e);
    json_u64(json, "domains", e->n_domains);
    json_u64(json, "interfaces", e->n_interfaces);
    json_text(json, "state", exporter_state_names[row->state]);
    json_text(json, "state_text", row->text);
    json_u64(json, "first_ms", row->sum.first_ms);
    json_u64(json, "last_ms", row->sum.last_ms);
    json_f64(json, "flows_per_s", row->sum.flows_per_s);
    json_f64(json, "datagrams_per_s", row->sum.datagrams_per_s);
    json_text(json, "unit", unit_of_all(e));
    write_numbers(json, row->sum.numbers);
    json_u64(json, "sampling", newest ? newest->sampling : 0);
    json_text(json, "sampling_from", newest ? newest->sampling_from : "");
}

static void write_domains(Json *json, const Exporter *exporter, uint64_t now_ms) {
    char text[NET_ADDRESS_TEXT_MAX];
    json_array_begin(json, "by_domain");
    for (const ExporterDomain *d = exporter->domains; d; d = d->next) {
        json_object_begin(json, NULL);
        char version[32];
        version_text(d->version, version, sizeof(version));
        json_text(json, "version", version);
        json_u64(json, "domain", d->domain);
        json_u64(json, "sub_agent", d->sub_agent);
        json_bool(json, "tcp", d->tcp);
        json_text(json, "from", net_address_format(&d->from, text));
        json_text(json, "unit", unit_of(d->version));
        json_f64(json, "flows_per_s", exporter_domain_rate(d, now_ms));
        json_u64(json, "first_ms", d->first_ms);
        json_u64(json, "last_ms", d->last_ms);
        write_numbers(json, d->numbers);
        json_u64(json, "sampling", d->sampling);
        json_text(json, "sampling_from", d->sampling_from);
        json_object_end(json);
    }
    json_array_end(json);
}

static double per_s(const ExporterInterface *i, InterfaceNumber which) {
    const uint64_t ms =
        i->before[INTERFACE_TIME_MS] ? i->now[INTERFACE_TIME_MS] - i->before[INTERFACE_TIME_MS] : 0;
    return ms ? (double)exporter_interface_grown(i, which) * 1000 / (double)ms : 0;
}

static void write_interface(Json *json, const Exporter *exporter, const ExporterInterface *i) {
    const char *name = exporter_name(exporter, EXPORTER_NAME_INTERFACE, i->index);
    json_object_begin(json, NULL);
    json_u64(json, "index", i->index);
    json_u64(json, "sub_agent", i->sub_agent);
    json_text(json, "name", name ? name : "");
    json_u64(json, "last_ms", i->now[INTERFACE_TIME_MS]);
    json_bool(json, "counted", true);
    json_f64(json, "speed_bits", (double)i->now[INTERFACE_SPEED]);
    json_bool(json, "up", (i->now[INTERFACE_STATUS] & 2) != 0);
    json_u64(json, "samples", i->now[INTERFACE_SAMPLED]);
    json_u64(json, "samples_missing",
             i->now[INTERFACE_SAMPLED] > i->received ? i->now[INTERFACE_SAMPLED] - i->received : 0);
    json_f64(json, "in_bits_per_s", 8 * per_s(i, INTERFACE_IN_OCTETS));
    json_f64(json, "out_bits_per_s", 8 * per_s(i, INTERFACE_OUT_OCTETS));
    json_f64(json, "in_packets_per_s", per_s(i, INTERFACE_IN_PACKETS));
    json_f64(json, "out_packets_per_s", per_s(i, INTERFACE_OUT_PACKETS));
    json_u64(json, "in_errors", i->now[INTERFACE_IN_ERRORS] + i->now[INTERFACE_IN_DISCARDS]);
    json_u64(json, "out_errors", i->now[INTERFACE_OUT_ERRORS] + i->now[INTERFACE_OUT_DISCARDS]);
    json_object_end(json);
}

/* one that has a name and no counters */
static void write_named(Json *json, const ExporterName *name) {
    static const char *const zeros[] = {"speed_bits",       "in_bits_per_s",     "out_bits_per_s",
                                        "in_packets_per_s", "out_packets_per_s", "samples",
                                        "samples_missing",  "in_errors",         "out_errors"};
    json_object_begin(json, NULL);
    json_u64(json, "index", name->key);
    json_u64(json, "sub_agent", 0);
    json_text(json, "name", name->text);
    json_u64(json, "last_ms", 0);
    json_bool(json, "counted", false);
    json_bool(json, "up", false);
    for (size_t i = 0; i < sizeof(zeros) / sizeof(*zeros); i++)
        json_u64(json, zeros[i], 0);
    json_object_end(json);
}

static bool is_counted(const Exporter *exporter, uint64_t index) {
    for (size_t i = 0; i < exporter->n_interfaces; i++)
        if (exporter->interfaces[i].index == index)
            return true;
    return false;
}

static void write_more(Json *json, const Exporter *exporter) {
    json_array_begin(json, "by_interface");
    for (size_t i = 0; i < exporter->n_interfaces; i++)
        write_interface(json, exporter, &exporter->interfaces[i]);
    for (size_t i = 0; i < exporter->n_names; i++)
        if (exporter->names[i].kind == EXPORTER_NAME_INTERFACE &&
            !is_counted(exporter, exporter->names[i].key))
            write_named(json, &exporter->names[i]);
    json_array_end(json);
    json_array_begin(json, "names");
    for (size_t i = 0; i < exporter->n_names; i++) {
        const ExporterName *name = &exporter->names[i];
        if (name->kind == EXPORTER_NAME_INTERFACE)
            continue;
        json_object_begin(json, NULL);
        json_text(json, "kind", exporter_name_kinds[name->kind]);
        json_u64(json, "key", name->key);
        json_text(json, "name", name->text);
        json_object_end(json);
    }
    json_array_end(json);
}

/* --- all of them --- */

typedef struct Listing {
    const ProbeViews *views;
    const char *probe, *search, *state;
    Row *rows;
    size_t n, room;
    uint64_t by_state[_EXPORTER_STATE_N];
    bool failed;
} Listing;

static bool has_text(const Row *row, const char *search) {
    char text[NET_ADDRESS_TEXT_MAX];
    const Exporter *e = row->exporter;
    return !*search || strcasestr(net_address_format(&e->ip, text), search) ||
           strcasestr(e->name, search) || strcasestr(e->site, search) ||
           strcasestr(row->probe->name, search);
}

static void list(void *context, Exporter *exporter) {
    Listing *listing = context;
    if (*listing->probe && strcmp(listing->probe, exporter->probe.z85) != 0)
        return;
    const Row row = row_of(exporter, listing->views);
    if (!has_text(&row, listing->search))
        return;
    listing->by_state[row.state]++;
    if (*listing->state && strcmp(listing->state, exporter_state_names[row.state]) != 0)
        return;
    if (listing->n == listing->room) {
        const size_t room = listing->room ? 2 * listing->room : 256;
        Row *more = realloc(listing->rows, room * sizeof(*more));
        listing->failed = listing->failed || !more;
        if (!more)
            return;
        listing->rows = more;
        listing->room = room;
    }
    listing->rows[listing->n++] = row;
}

static int by_address(const Row *a, const Row *b) {
    const int order = memcmp(&a->exporter->ip, &b->exporter->ip, sizeof(NetAddress));
    return order ? order : strcmp(a->exporter->probe.z85, b->exporter->probe.z85);
}

static uint64_t wrong(const Row *row) {
    const uint64_t *n = row->sum.numbers;
    return n[EXPORTER_LOST] + n[EXPORTER_DROPPED] + n[EXPORTER_NO_TEMPLATE] + n[EXPORTER_MALFORMED];
}

#define ORDER(name, expression)                                                                    \
    static int by_##name(const void *x, const void *y) {                                           \
        const Row *a = x;                                                                          \
        const Row *b = y;                                                                          \
        const int order = (expression);                                                            \
        return order ? order : by_address(a, b);                                                   \
    }
#define MORE(of)   (((of(a)) > (of(b))) - ((of(a)) < (of(b))))
#define RATE(row)  (row)->sum.flows_per_s
#define FLOWS(row) (row)->sum.numbers[EXPORTER_FLOWS]
#define LAST(row)  (row)->sum.last_ms
ORDER(ip, 0)
ORDER(name, strcasecmp(a->exporter->name, b->exporter->name))
ORDER(probe, strcasecmp(a->probe->name, b->probe->name))
ORDER(state, (int)a->state - (int)b->state)
ORDER(rate, MORE(RATE))
ORDER(flows, MORE(FLOWS))
ORDER(last, MORE(LAST))
ORDER(wrong, MORE(wrong))

static const struct {
    const char *name;
    int (*compare)(const void *a, const void *b);
} orders[] = {
    {"ip", by_ip},       {"name", by_name},        {"probe", by_probe},  {"state", by_state},
    {"flows", by_flows}, {"flows_per_s", by_rate}, {"last_ms", by_last}, {"wrong", by_wrong},
};

static void write_page(Json *json, const HttpRequest *request, const Listing *listing) {
    const size_t offset = (size_t)http_param_int(request, "offset");
    const size_t limit = (size_t)http_param_int(request, "limit");
    const bool down = strcmp(http_param(request, "order"), "desc") == 0;
    json_array_begin(json, "exporters");
    for (size_t i = offset; i < listing->n && i < offset + limit; i++) {
        json_object_begin(json, NULL);
        write_members(json, &listing->rows[down ? listing->n - 1 - i : i]);
        json_object_end(json);
    }
    json_array_end(json);
    json_u64(json, "total", listing->n);
    json_u64(json, "silent_after_ms", EXPORTERS_SILENT_MS);
    json_object_begin(json, "states");
    for (int i = 0; i < _EXPORTER_STATE_N; i++)
        json_u64(json, exporter_state_names[i], listing->by_state[i]);
    json_object_end(json);
}

static const char *or_empty(const char *text) {
    return text ? text : "";
}

int api_get_exporters(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    Json json = json_make(&response->body);
    ProbeViews views = views_make(hub, clock_wall_ms());
    Listing listing = {.views = &views,
                       .probe = or_empty(http_param(request, "probe")),
                       .search = or_empty(http_param(request, "search")),
                       .state = or_empty(http_param(request, "state"))};
    /* what rows point to stays as it is: until the answer is written nobody else has the lock */
    exporters_each_and(hub->exporters, list, &listing);
    for (size_t i = 0; i < sizeof(orders) / sizeof(*orders) && listing.n; i++)
        if (strcmp(orders[i].name, http_param(request, "sort")) == 0)
            qsort(listing.rows, listing.n, sizeof(*listing.rows), orders[i].compare);
    json_object_begin(&json, NULL);
    write_page(&json, request, &listing);
    json_object_end(&json);
    exporters_unlock(hub->exporters);
    free(listing.rows);
    free(views.rows);
    return listing.failed ? error_origin(-ENOMEM) : 0;
}

static int no_exporter(HttpResponse *response) {
    http_response_error(response, 404, "not_found", "There is no exporter with this id.");
    return 0;
}

int api_get_exporter(HttpRequest *request, HttpResponse *response, void *context) {
    Hub *hub = context;
    Json json = json_make(&response->body);
    ProbeViews views = views_make(hub, clock_wall_ms());
    const Exporter *exporter =
        exporters_lock(hub->exporters, (uint64_t)http_param_int(request, "id"));
    if (exporter) {
        const Row row = row_of(exporter, &views);
        json_object_begin(&json, NULL);
        write_members(&json, &row);
        write_domains(&json, exporter, views.now_ms);
        write_more(&json, exporter);
        json_object_end(&json);
        exporters_unlock(hub->exporters);
    }
    free(views.rows);
    return exporter ? 0 : no_exporter(response);
}

/* --- names of what flows have numbers for --- */

typedef struct NameSeen {
    uint32_t probe;
    NetAddress ip;
    uint8_t kind;
    uint32_t key;
} NameSeen;

static int compare_number(const void *a, const void *b) {
    const ProbeView *x = a;
    const ProbeView *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int compare_seen(const void *a, const void *b) {
    return memcmp(a, b, sizeof(NameSeen));
}

static size_t gather(const FlowBatch *flows, NameSeen *seen) {
    size_t n = 0;
    for (size_t i = 0; i < flows->n; i++) {
        const FlowRecord *flow = &flows->records[i];
        const struct {
            ExporterNameKind kind;
            uint32_t key;
        } keys[] = {{EXPORTER_NAME_INTERFACE, flow->input_if},
                    {EXPORTER_NAME_INTERFACE, flow->output_if},
                    {EXPORTER_NAME_VRF, flow->vrf_in},
                    {EXPORTER_NAME_VRF, flow->vrf_out}};
        for (size_t k = 0; flow->exporter_ip.family && k < sizeof(keys) / sizeof(*keys); k++) {
            if (!keys[k].key)
                continue;
            NameSeen *one = &seen[n++];
            memset(one, 0, sizeof(*one)); /* compared as bytes */
            one->probe = flow->probe;
            one->ip = flow->exporter_ip;
            one->kind = (uint8_t)keys[k].kind;
            one->key = keys[k].key;
        }
    }
    qsort(seen, n, sizeof(*seen), compare_seen);
    return n;
}

static void write_name(Json *json, Hub *hub, const ProbeViews *views, const NameSeen *seen) {
    char name[256];
    char ip[NET_ADDRESS_TEXT_MAX];
    const ProbeView wanted = {.number = seen->probe};
    const ProbeView *probe =
        bsearch(&wanted, views->rows, views->n, sizeof(wanted), compare_number);
    if (!probe || !exporters_name(hub->exporters, &probe->key, &seen->ip,
                                  (ExporterNameKind)seen->kind, seen->key, name, sizeof(name)))
        return;
    json_object_begin(json, NULL);
    json_u64(json, "probe", seen->probe);
    json_text(json, "exporter_ip", net_address_format(&seen->ip, ip));
    json_text(json, "kind", exporter_name_kinds[seen->kind]);
    json_u64(json, "key", seen->key);
    json_text(json, "name", name);
    json_object_end(json);
}

int api_write_names(Json *json, const char *member, Hub *hub, const FlowBatch *flows) {
    NameSeen *seen = calloc(4 * flows->n + 1, sizeof(*seen));
    if (!seen)
        return error_origin(-ENOMEM);
    const size_t n = gather(flows, seen);
    ProbeViews views = {0};
    if (n)
        views = views_make(hub, clock_wall_ms());
    if (views.n)
        qsort(views.rows, views.n, sizeof(*views.rows), compare_number);
    json_array_begin(json, member);
    for (size_t i = 0; i < n && views.n; i++)
        if (i == 0 || compare_seen(&seen[i - 1], &seen[i]) != 0)
            write_name(json, hub, &views, &seen[i]);
    json_array_end(json);
    free(views.rows);
    free(seen);
    return 0;
}

/* --- metrics --- */

typedef struct Metrics {
    const ProbeViews *views;
    Buffer *to;
    int fate; /* -1: what was sent, -2: silent */
} Metrics;

static void put_label(Buffer *to, const char *name, const char *value) {
    buffer_printf(to, "%s=\"", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"')
            buffer_put_u8(to, '\\');
        buffer_put(to, *c == '\n' ? " " : c, 1);
    }
    buffer_put_text(to, "\"");
}

static void put_exporter(const Metrics *metrics, const Exporter *e) {
    char text[NET_ADDRESS_TEXT_MAX];
    put_label(metrics->to, "{probe", view_of(metrics->views, &e->probe)->name);
    put_label(metrics->to, ",exporter", net_address_format(&e->ip, text));
    if (*e->name)
        put_label(metrics->to, ",name", e->name);
}

static void put_silent(void *context, Exporter *e) {
    const Metrics *metrics = context;
    const Row row = row_of(e, metrics->views);
    buffer_put_text(metrics->to, "weir_exporter_silent");
    put_exporter(metrics, e);
    buffer_printf(metrics->to, "} %d\n", row.state == EXPORTER_SILENT);
}

static void put_units(void *context, Exporter *e) {
    const Metrics *metrics = context;
    for (const ExporterDomain *d = e->domains; d; d = d->next)
        for (int i = EXPORTER_SENT; i <= EXPORTER_HELD; i++) {
            if ((i == EXPORTER_SENT) != (metrics->fate == EXPORTER_SENT))
                continue;
            buffer_put_text(metrics->to, i == EXPORTER_SENT ? "weir_exporter_sent_total"
                                                            : "weir_exporter_units");
            put_exporter(metrics, e);
            buffer_printf(metrics->to, ",version=\"%" PRIu32 "\",domain=\"%" PRIu32 "\"",
                          d->version, d->domain);
            if (d->sub_agent)
                buffer_printf(metrics->to, ",sub_agent=\"%" PRIu32 "\"", d->sub_agent);
            if (i != EXPORTER_SENT)
                put_label(metrics->to, ",fate", exporter_number_names[i]);
            buffer_printf(metrics->to, "} %" PRIu64 "\n", d->numbers[i]);
        }
}

void api_write_exporter_metrics(Hub *hub, Buffer *to) {
    ProbeViews views = views_make(hub, clock_wall_ms());
    Metrics metrics = {.views = &views, .to = to, .fate = EXPORTER_SENT};
    buffer_put_text(to, "# TYPE weir_exporter_silent gauge\n# HELP weir_exporter_silent 1 while no "
                        "datagram came from the exporter for a minute.\n");
    exporters_each(hub->exporters, put_silent, &metrics);
    buffer_put_text(to, "# TYPE weir_exporter_sent counter\n# HELP weir_exporter_sent Units that "
                        "an exporter has sent, by the numbers it gave them.\n");
    exporters_each(hub->exporters, put_units, &metrics);
    metrics.fate = EXPORTER_HELD;
    buffer_put_text(to, "# TYPE weir_exporter_units gauge\n# HELP weir_exporter_units What became "
                        "of these; they add up to what was sent.\n");
    exporters_each(hub->exporters, put_units, &metrics);
    free(views.rows);
}
