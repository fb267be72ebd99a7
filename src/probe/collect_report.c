/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/collect_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/json.h"

enum { NAMES_AGAIN_MS = 5 * 60 * 1000 };

const char *const collect_rate_names[_COLLECT_RATE_N] = {
    [COLLECT_RATE_NONE] = "",         [COLLECT_RATE_OPTIONS] = "options",
    [COLLECT_RATE_RECORD] = "record", [COLLECT_RATE_HEADER] = "header",
    [COLLECT_RATE_SFLOW] = "sflow",   [COLLECT_RATE_OVERRIDE] = "override",
};

const char *const collect_name_kinds[_COLLECT_NAME_N] = {
    [COLLECT_NAME_INTERFACE] = "interface",
    [COLLECT_NAME_APPLICATION] = "application",
    [COLLECT_NAME_VRF] = "vrf",
};

struct CollectReport {
    const CollectPolicy *policy;
    CollectExporter *due; /* those to be told now */
    size_t n, room;
    size_t known;
    uint64_t now_ms;
    bool failed;
    size_t names_told;   /* of the round under way */
    size_t names_at;     /* in the walk */
    uint64_t names_ms;   /* when the last round was over; 0: one is under way */
    uint64_t names_seen; /* collector_names_changed() when it began */
    Json *json;
    size_t end; /* of the buffer, where names end */
};

int collect_report_new(CollectReport **reportp, const CollectPolicy *policy) {
    CollectReport *report = calloc(1, sizeof(*report));
    if (!report)
        return error_origin(-ENOMEM);
    report->policy = policy;
    *reportp = report;
    return 0;
}

CollectReport *collect_report_free(CollectReport *report) {
    if (report)
        free(report->due);
    free(report);
    return NULL;
}

/* --- exporters --- */

static bool is_due(const CollectExporter *exporter, uint64_t now_ms) {
    const CollectMark *mark = exporter->mark;
    return mark->datagrams != exporter->datagrams ||
           mark->held != exporter->account.units[COLLECT_HELD] ||
           now_ms - mark->told_ms >= COLLECT_REPORT_AGAIN_MS;
}

static void gather(void *userdata, const CollectExporter *exporter) {
    CollectReport *report = userdata;
    report->known++;
    if (!is_due(exporter, report->now_ms))
        return;
    if (report->n == report->room) {
        const size_t room = report->room ? 2 * report->room : 64;
        CollectExporter *more = realloc(report->due, room * sizeof(*more));
        if (!more) {
            report->failed = true;
            return;
        }
        report->due = more;
        report->room = room;
    }
    report->due[report->n++] = *exporter;
}

static int compare_told(const void *a, const void *b) {
    const CollectMark *x = ((const CollectExporter *)a)->mark;
    const CollectMark *y = ((const CollectExporter *)b)->mark;
    return x->told_ms != y->told_ms ? (x->told_ms > y->told_ms) - (x->told_ms < y->told_ms)
                                    : (x->serial > y->serial) - (x->serial < y->serial);
}

static void put(Json *json, const char *name, uint64_t value) {
    if (value)
        json_u64(json, name, value);
}

static void put_text(Json *json, const char *name, const char *value) {
    if (value && *value)
        json_text(json, name, value);
}

/* the rate that goes for its flows, and who said it */
static uint32_t rate_of(const CollectPolicy *policy, const CollectPolicyExporter *said,
                        const CollectExporter *exporter, CollectRate *fromp) {
    *fromp = COLLECT_RATE_OVERRIDE;
    if (said && said->rate)
        return said->rate;
    if (!exporter->rate && collect_policy_usual_rate(policy))
        return collect_policy_usual_rate(policy);
    *fromp = exporter->rate_from;
    return exporter->rate;
}

static void write_exporter(const CollectReport *report, const CollectExporter *e) {
    Json *json = report->json;
    const CollectPolicyExporter *said = collect_policy_exporter(report->policy, &e->address);
    char text[NET_ADDRESS_TEXT_MAX];
    CollectRate from = COLLECT_RATE_NONE;
    const uint32_t rate = rate_of(report->policy, said, e, &from);
    json_object_begin(json, NULL);
    json_u64(json, "id", e->mark->serial);
    json_text(json, "ip", net_address_format(&e->address, text));
    if (!net_address_equal(&e->address, &e->source))
        json_text(json, "from", net_address_format(&e->source, text));
    json_u64(json, "version", e->version);
    put(json, "domain", e->domain);
    put(json, "sub_agent", e->sub_agent);
    if (e->stream)
        json_bool(json, "tcp", true);
    put_text(json, "name", said ? said->name : NULL);
    put_text(json, "site", said ? said->site : NULL);
    put(json, "first_ms", e->first_ms);
    put(json, "last_ms", e->last_ms);
    put(json, "datagrams", e->datagrams);
    put(json, "bytes", e->bytes);
    put(json, "flows", e->flows);
    put(json, "options", e->options);
    put(json, "sent", e->account.sent);
    for (int i = 0; i < _COLLECT_FATE_N; i++)
        put(json, collect_fate_names[i], e->account.units[i]);
    put(json, "resets", e->account.resets);
    put(json, "templates", e->templates);
    put(json, "sampling", rate);
    put_text(json, "sampling_from", collect_rate_names[from]);
    json_object_end(json);
}

static void write_exporters(CollectReport *report, Collector *collector) {
    const size_t end = report->json->to->size + COLLECT_REPORT_ROWS_BYTES;
    report->n = report->known = 0;
    collector_each(collector, gather, report);
    if (report->n)
        qsort(report->due, report->n, sizeof(*report->due), compare_told);
    json_u64(report->json, "known", report->known);
    json_array_begin(report->json, "rows");
    for (size_t i = 0; i < report->n && report->json->to->size < end; i++) {
        const CollectExporter *e = &report->due[i];
        write_exporter(report, e);
        e->mark->datagrams = e->datagrams;
        e->mark->held = e->account.units[COLLECT_HELD];
        e->mark->told_ms = report->now_ms;
    }
    json_array_end(report->json);
}

/* --- names --- */

static void tell_name(void *userdata, const CollectName *name) {
    CollectReport *report = userdata;
    char text[NET_ADDRESS_TEXT_MAX];
    if (report->names_at++ < report->names_told || report->json->to->size >= report->end)
        return;
    report->names_told++;
    json_array_begin(report->json, NULL);
    json_text(report->json, NULL, net_address_format(&name->exporter, text));
    json_text(report->json, NULL, collect_name_kinds[name->kind]);
    json_u64(report->json, NULL, name->key);
    json_textn(report->json, NULL, name->text, name->size);
    json_array_end(report->json);
}

/* those that the user has given come behind those of the exporters, and so go before them */
static void write_names(CollectReport *report, Collector *collector) {
    const uint64_t changed = collector_names_changed(collector);
    if (report->names_ms && changed == report->names_seen &&
        report->now_ms - report->names_ms < NAMES_AGAIN_MS)
        return;
    if (report->names_told == 0)
        report->names_seen = changed;
    report->names_ms = 0;
    report->names_at = 0;
    report->end = report->json->to->size + COLLECT_REPORT_NAMES_BYTES;
    json_array_begin(report->json, "names");
    collector_each_name(collector, tell_name, report);
    const CollectPolicyInterface *rows = NULL;
    const size_t n = collect_policy_interfaces(report->policy, &rows);
    for (size_t i = 0; i < n; i++) {
        const CollectName name = {.exporter = rows[i].exporter,
                                  .kind = COLLECT_NAME_INTERFACE,
                                  .key = rows[i].index,
                                  .text = rows[i].name,
                                  .size = strlen(rows[i].name)};
        tell_name(report, &name);
    }
    json_array_end(report->json);
    if (report->names_told < report->names_at)
        return;
    report->names_told = 0;
    report->names_ms = report->now_ms;
}

int collect_report_write(CollectReport *report, Collector *collector, CollectInterfaces *interfaces,
                         uint64_t now_ms, Json *json) {
    report->json = json;
    report->now_ms = now_ms;
    report->failed = false;
    json_object_begin(json, "exporters");
    write_exporters(report, collector);
    write_names(report, collector);
    json_array_begin(json, "interfaces");
    collect_interfaces_write(interfaces, json, COLLECT_REPORT_INTERFACES_BYTES);
    json_array_end(json);
    json_object_end(json);
    return report->failed ? error_origin(-ENOMEM) : 0;
}

/* --- metrics --- */

static const struct {
    const char *name, *help;
} samples[] = {
    {"weir_probe_exporter_sent", "Units that the exporter has sent, by the numbers it gave them."},
    {"weir_probe_exporter_units", "What became of these; they add up to what was sent."},
};

typedef struct Metrics {
    const CollectPolicy *policy;
    Buffer *to;
    bool fates;
} Metrics;

static void put_labels(const Metrics *metrics, const CollectExporter *e) {
    const CollectPolicyExporter *said = collect_policy_exporter(metrics->policy, &e->address);
    char text[NET_ADDRESS_TEXT_MAX];
    buffer_printf(metrics->to, "exporter=\"%s\",version=\"%s%u\",domain=\"%" PRIu32 "\"",
                  net_address_format(&e->address, text),
                  e->version == COLLECT_VERSION_SFLOW ? "sflow" : "",
                  e->version == COLLECT_VERSION_SFLOW ? 5u : e->version, e->domain);
    if (e->sub_agent)
        buffer_printf(metrics->to, ",sub_agent=\"%" PRIu32 "\"", e->sub_agent);
    if (e->stream)
        buffer_printf(metrics->to, ",connection=\"%" PRIu32 "\"", e->stream);
    if (!said || !said->name)
        return;
    buffer_put_text(metrics->to, ",name=\"");
    for (const char *c = said->name; *c; c++) {
        if (*c == '"' || *c == '\\')
            buffer_put_u8(metrics->to, '\\');
        buffer_put(metrics->to, c, 1);
    }
    buffer_put_text(metrics->to, "\"");
}

static void put_metrics(void *userdata, const CollectExporter *e) {
    const Metrics *metrics = userdata;
    const char *name = samples[metrics->fates].name;
    for (int i = 0; i < (metrics->fates ? _COLLECT_FATE_N : 1); i++) {
        buffer_printf(metrics->to, "%s%s{", name, metrics->fates ? "" : "_total");
        put_labels(metrics, e);
        if (metrics->fates)
            buffer_printf(metrics->to, ",fate=\"%s\"", collect_fate_names[i]);
        buffer_printf(metrics->to, "} %" PRIu64 "\n",
                      metrics->fates ? e->account.units[i] : e->account.sent);
    }
}

void collect_report_metrics(const CollectPolicy *policy, Collector *const *collectors, size_t n,
                            Buffer *to) {
    Metrics metrics = {.policy = policy, .to = to};
    for (int i = 0; i < 2; i++) {
        metrics.fates = i == 1;
        buffer_printf(to, "# TYPE %s %s\n# HELP %s %s\n", samples[i].name,
                      metrics.fates ? "gauge" : "counter", samples[i].name, samples[i].help);
        for (size_t k = 0; k < n; k++)
            collector_each(collectors[k], put_metrics, &metrics);
    }
}
