/* SPDX-License-Identifier: Apache-2.0 */

/* the fields of a version when there is no -T */

#include <string.h>

#include "codec/netflow-template.h"

typedef enum When {
    ALWAYS,
    WITH_PORTS,
    WITH_ICMP,
    WHEN_SAMPLED,
    IN_TUNNEL,
} When;

typedef struct Row {
    When when;
    const char *name;  /* of -T */
    FlowFieldId field; /* where there is no name: by its own row */
} Row;

/* an ICMP flow's type and code are in the destination port, as readers of v9 expect */
static const Row v9_rows[] = {
    {ALWAYS, "IPV4_SRC_ADDR", 0},
    {ALWAYS, "IPV4_DST_ADDR", 0},
    {ALWAYS, "L4_SRC_PORT", 0},
    {ALWAYS, "L4_DST_PORT", 0},
    {WITH_ICMP, "ICMP_TYPE", 0},
    {ALWAYS, "PROTOCOL", 0},
    {ALWAYS, "TCP_FLAGS", 0},
    {ALWAYS, "SRC_TOS", 0},
    {ALWAYS, "IN_BYTES", 0},
    {ALWAYS, "IN_PKTS", 0},
    {ALWAYS, "FIRST_SWITCHED", 0},
    {ALWAYS, "LAST_SWITCHED", 0},
    {ALWAYS, "INPUT_SNMP", 0},
    {ALWAYS, "OUTPUT_SNMP", 0},
    {ALWAYS, "SRC_VLAN", 0},
    {IN_TUNNEL, "UPSTREAM_TUNNEL_ID", 0},
    {IN_TUNNEL, NULL, FLOW_INNER_VLAN},
    {IN_TUNNEL, "MPLS_LABEL_1", 0},
    {WHEN_SAMPLED, "SAMPLING_INTERVAL", 0},
    {WHEN_SAMPLED, "SELECTOR_ID", 0},
};

/* some readers take the last flags and TOS for the flow's, whatever their direction, and flags of
 * one byte only (RFC 7125 allows that; the four bits beyond are hardly ever set) */
static const Row ipfix_rows[] = {
    {ALWAYS, NULL, FLOW_FIRST_MS},
    {ALWAYS, NULL, FLOW_LAST_MS},
    {ALWAYS, "IPV4_SRC_ADDR", 0},
    {ALWAYS, "IPV4_DST_ADDR", 0},
    {WITH_PORTS, NULL, FLOW_SRC_PORT},
    {WITH_PORTS, NULL, FLOW_DST_PORT},
    {WITH_ICMP, "ICMP_IPV4_TYPE", 0},
    {WITH_ICMP, "ICMP_IPV4_CODE", 0},
    {WITH_ICMP, "ICMP_TYPE", 0},
    {ALWAYS, "PROTOCOL", 0},
    {ALWAYS, "IN_BYTES", 0},
    {ALWAYS, "IN_PKTS", 0},
    {ALWAYS, "OUT_BYTES", 0},
    {ALWAYS, "OUT_PKTS", 0},
    {ALWAYS, "SERVER_TCP_FLAGS", 0},
    {ALWAYS, "CLIENT_TCP_FLAGS", 0},
    {ALWAYS, "DST_TOS", 0},
    {ALWAYS, "SRC_TOS", 0},
    {ALWAYS, "INPUT_SNMP", 0},
    {ALWAYS, "OUTPUT_SNMP", 0},
    {ALWAYS, "SRC_VLAN", 0},
    {ALWAYS, NULL, FLOW_SRC_MAC},
    {ALWAYS, NULL, FLOW_DST_MAC},
    {ALWAYS, NULL, FLOW_END_REASON},
    {ALWAYS, NULL, FLOW_DIRECTION_KNOWN},
    {ALWAYS, NULL, FLOW_FLOW_ID},
    {ALWAYS, NULL, FLOW_APP_NAME},
    {ALWAYS, NULL, FLOW_SERVER_NAME},
    {IN_TUNNEL, NULL, FLOW_TUNNEL_TYPE},
    {IN_TUNNEL, NULL, FLOW_TUNNEL_ID},
    {IN_TUNNEL, NULL, FLOW_REV_TUNNEL_ID},
    {IN_TUNNEL, NULL, FLOW_TUNNEL_SRC_IP},
    {IN_TUNNEL, NULL, FLOW_TUNNEL_DST_IP},
    {IN_TUNNEL, NULL, FLOW_TUNNEL_VLAN},
    {IN_TUNNEL, NULL, FLOW_INNER_VLAN},
    {IN_TUNNEL, "MPLS_LABEL_1", 0},
    {WHEN_SAMPLED, "SAMPLING_INTERVAL", 0},
    {WHEN_SAMPLED, "SELECTOR_ID", 0},
};

static bool row_applies(const Row *row, unsigned variant) {
    switch (row->when) {
    case WITH_PORTS:
        return !(variant & NETFLOW_ICMP);
    case WITH_ICMP:
        return variant & NETFLOW_ICMP;
    case WHEN_SAMPLED:
        return variant & NETFLOW_SAMPLED;
    case IN_TUNNEL:
        return variant & NETFLOW_TUNNEL;
    default:
        return true;
    }
}

void netflow_fields_usual(NetflowFields *fields, NetflowVersion version, unsigned variant) {
    const bool v9 = version == NETFLOW_9;
    const Row *rows = v9 ? v9_rows : ipfix_rows;
    const size_t n = v9 ? sizeof(v9_rows) / sizeof(Row) : sizeof(ipfix_rows) / sizeof(Row);
    fields->n = 0;
    fields->both = !v9;
    for (size_t i = 0; i < n; i++) {
        NetflowColumn *column = &fields->columns[fields->n];
        if (!row_applies(&rows[i], variant))
            continue;
        if (!rows[i].name)
            *column = netflow_column_of_field(rows[i].field);
        else if (!netflow_column_find(rows[i].name, strlen(rows[i].name), column))
            continue; /* a test looks that there are all */
        fields->n++;
    }
}
