/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/outside.h"

#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "probe/counters.h"

enum { SECOND_MS = 1000, FINISH_LIVE_MS = 2000, FINISH_FILE_MS = 10000 };

DoorsConfig outside_doors(const ProbeConfig *config) {
    uint32_t domain = 0;
    (void)options_domain(config, &domain); /* it was checked */
    return (DoorsConfig){.collectors = &config->collectors,
                         .domain = domain,
                         .version = (NetflowVersion)config->flow_version,
                         .all = config->all_collectors,
                         .first_template = config->first_template,
                         .templates_messages = config->templates_messages,
                         .linger_ms = config->queue_timeout_s * SECOND_MS,
                         .fields = config->flow_fields,
                         .collecting = config->collector_ports.n != 0,
                         .name = config->probe_name};
}

/* the one interface captured from, as options records name it */
static void name_interface(Outside *outside, const ProbeConfig *config, DoorsConfig *doors) {
    if (!doors->name && gethostname(outside->host, sizeof(outside->host) - 1) == 0)
        doors->name = outside->host;
    if (outside->patient || config->inputs.n != 1 || strcmp(config->inputs.values[0], "none") == 0)
        return;
    doors->interface = config->inputs.values[0];
    doors->interface_index = config->input_if ? config->input_if : if_nametoindex(doors->interface);
}

int outside_open(Outside *outside, const ProbeConfig *config, bool patient, Reason *reason) {
    const bool exports = doors_wanted(&config->collectors);
    *outside = (Outside){.patient = patient};
    if (!exports && config->flow_fields)
        log_notice(
            "-T says what collectors (-n) are sent, and there is none; hubs get every field");
    if (!exports && config->hubs.n == 0)
        return 0;
    const LicensingConfig licensing = licensing_config(config);
    int r = licensing_new(&outside->licensing, &licensing, licensing_now());
    if (r == 0 && exports) {
        DoorsConfig doors = outside_doors(config);
        doors.patient = patient;
        name_interface(outside, config, &doors);
        doors.limited = !licensing_unlocked(outside->licensing);
        r = doors_new(&outside->doors, &doors, reason);
    }
    return r;
}

/* looks at files and writes what is to be remembered: neither is for the thread that captures */
static void second(Outside *outside) {
    Deliver *deliver = outside->deliver;
    LeaseWord word;
    if (deliver)
        deliver_lease(deliver, &word);
    if (!licensing_second(outside->licensing, deliver ? &word : NULL, licensing_now()))
        return;
    if (deliver)
        deliver_licence(deliver, licensing_token(outside->licensing));
    if (outside->doors)
        doors_limit(outside->doors, !licensing_unlocked(outside->licensing));
}

static void *outside_run(void *userdata) {
    Outside *outside = userdata;
    while (!queue_closed(outside->stop)) {
        second(outside); /* at once: only now is there a folder to remember in */
        (void)queue_pop(outside->stop, SECOND_MS);
    }
    return NULL;
}

int outside_start(Outside *outside, Deliver *deliver) {
    if (!outside->licensing)
        return 0;
    outside->deliver = deliver;
    int r = queue_new(&outside->stop, 1);
    if (r == 0)
        r = -pthread_create(&outside->thread, NULL, outside_run, outside);
    outside->running = r == 0;
    return error_trace(r);
}

void outside_close(Outside *outside) {
    if (outside->running) {
        queue_close(outside->stop);
        (void)pthread_join(outside->thread, NULL);
    }
    queue_free(outside->stop);
    doors_free(outside->doors);
    licensing_free(outside->licensing);
    *outside = (Outside){0};
}

static DoorsMetered metered(const MetricValue *counters) {
    DoorsMetered sum = {.dropped_packets = metric_get(&counters[COUNTER_PACKETS_DROPPED]) +
                                           metric_get(&counters[COUNTER_PACKETS_OVERRUN]),
                        .flows = metric_get(&counters[COUNTER_FLOWS_CREATED]) +
                                 metric_get(&counters[COUNTER_FLOWS_COLLECTED])};
    sum.ignored_packets = sum.dropped_packets;
#define ANSWER(id, ...)                                                                            \
    sum.ignored_packets += metric_get(&counters[COUNTER_IGNORED_PACKETS_##id]);                    \
    sum.ignored_octets += metric_get(&counters[COUNTER_IGNORED_BYTES_##id]);
    DISSECT_ANSWERS(ANSWER)
#undef ANSWER
    return sum;
}

void outside_count(Outside *outside, MetricValue *counters) {
    DoorsStatus *status = &outside->status;
    if (!outside->doors)
        return;
    const DoorsMetered now = metered(counters);
    doors_metered(outside->doors, &now);
    doors_status(outside->doors, status);
    const struct {
        int id;
        uint64_t value;
    } rows[] = {
        {COUNTER_COLLECTOR_SENT, status->sum.sent_messages},
        {COUNTER_COLLECTOR_SENT_RECORDS, status->sum.sent_records},
        {COUNTER_COLLECTOR_FAILED, status->sum.failed_messages},
        {COUNTER_COLLECTOR_FAILED_RECORDS, status->sum.failed_records},
        {COUNTER_COLLECTOR_WAITING, status->sum.waiting_messages},
        {COUNTER_COLLECTOR_UNFIT, status->unfit_flows},
        {COUNTER_COLLECTOR_WITHHELD, status->withheld_flows},
        {COUNTER_COLLECTOR_LIMITED, status->limited},
        {COUNTER_COLLECTOR_LEFT, status->left_records},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        metric_set(&counters[rows[i].id], rows[i].value);
}

void outside_finish(Outside *outside, MetricValue *counters) {
    if (!outside->doors)
        return;
    outside_count(outside, counters);
    doors_finish(outside->doors, outside->patient ? FINISH_FILE_MS : FINISH_LIVE_MS);
    outside_count(outside, counters);
    const DoorStatus *sum = &outside->status.sum;
    if (sum->failed_records)
        log_warning("-n: %llu records in %llu messages could not be sent to collectors",
                    (unsigned long long)sum->failed_records,
                    (unsigned long long)sum->failed_messages);
    if (outside->status.withheld_flows)
        log_warning("-n: %llu flows were not exported to collectors: the limit of %d records a run "
                    "was reached",
                    (unsigned long long)outside->status.withheld_flows, DOORS_LIMIT_RECORDS);
}
