/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "codec/netflow-template.h"
#include "flow/registry.h"

/* clang-format off */
#define TYPE_SIZE(KIND) sizeof(FLOW_TYPE_##KIND)
typedef struct Name {
    const char *name;
    bool made, spare;
    FlowFieldId field;
    uint8_t kind, width;
    uint16_t offset, size;
    NetflowElement ipfix, v9;
} Name;

static const Name names[] = {
#define NETFLOW_FIELD(text, FIELD, bytes, pen, element, element_v6, nine, nine_v6)                 \
    {.name = (text), .field = FLOW_##FIELD, .width = (bytes), .ipfix = {(pen), (element), (element_v6)},        \
     .v9 = {0, (nine), (nine_v6)}},
#define NETFLOW_OF(text, member, KIND, bytes, pen, element, element_v6, nine, nine_v6, is_spare)   \
    {.name = (text), .made = true, .spare = (is_spare), .kind = FLOW_KIND_##KIND, .width = (bytes),             \
     .offset = offsetof(NetflowMade, member), .size = TYPE_SIZE(KIND),                             \
     .ipfix = {(pen), (element), (element_v6)}, .v9 = {0, (nine), (nine_v6)}},
#define NETFLOW_MADE(...) NETFLOW_OF(__VA_ARGS__, false)
#define NETFLOW_SPARE(...) NETFLOW_OF(__VA_ARGS__, true)
#include "codec/netflow-names.def"
#undef NETFLOW_FIELD
#undef NETFLOW_MADE
#undef NETFLOW_SPARE
};
/* clang-format on */

/* what nProbe has names for beyond all these, plugins included: nothing here measures it */
static const char *const absent_names[] = {
    "L4_SRC_PORT_MAP L4_DST_PORT_MAP L4_SRV_PORT_MAP IPV4_SRC_MASK IPV4_DST_MASK SRC_MASK "
    "DST_MASK IPV6_SRC_MASK IPV6_DST_MASK BGP_PREV_ADJACENT_ASN BGP_NEXT_ADJACENT_ASN "
    "BGP_IPV4_NEXT_HOP BGP_IPV6_NEXT_HOP MIN_IP_PKT_LEN MAX_IP_PKT_LEN FLOW_ACTIVE_TIMEOUT "
    "FLOW_INACTIVE_TIMEOUT ENGINE_TYPE ENGINE_ID TOTAL_BYTES_EXP TOTAL_PKTS_EXP MIN_TTL MAX_TTL "
    "DST_VLAN OUT_SRC_MAC INTERFACE_NAME DOT1Q_DST_VLAN MPLS_LABEL_2 MPLS_LABEL_3 MPLS_LABEL_4 "
    "MPLS_LABEL_5 MPLS_LABEL_6 MPLS_LABEL_7 MPLS_LABEL_8 MPLS_LABEL_9 MPLS_LABEL_10 "
    "APPLICATION_ID PACKET_SECTION_OFFSET SAMPLED_PACKET_SIZE SAMPLED_PACKET_ID IPV6_FLOW_LABEL "
    "NAT_ORIGINATING_ADDRESS_REALM INGRESS_VRFID EGRESS_VRFID OBSERVATION_POINT_TYPE "
    "OBSERVATION_POINT_ID IPFIX_SAMPLING_ALGORITHM SAMPLING_SIZE SAMPLING_POPULATION FRAME_LENGTH "
    "PACKETS_OBSERVED PACKETS_SELECTED SELECTOR_NAME PORT_RANGE_START PORT_RANGE_END "
    "SRC_FRAGMENTS DST_FRAGMENTS CLIENT_NW_LATENCY_MS SERVER_NW_LATENCY_MS APPL_LATENCY_MS "
    "SRC_TO_DST_MAX_THROUGHPUT SRC_TO_DST_MIN_THROUGHPUT SRC_TO_DST_AVG_THROUGHPUT "
    "DST_TO_SRC_MAX_THROUGHPUT DST_TO_SRC_MIN_THROUGHPUT DST_TO_SRC_AVG_THROUGHPUT "
    "SRC_TO_DST_MAX_EST_THROUGHPUT DST_TO_SRC_MAX_EST_THROUGHPUT NUM_PKTS_UP_TO_128_BYTES "
    "NUM_PKTS_128_TO_256_BYTES NUM_PKTS_256_TO_512_BYTES NUM_PKTS_512_TO_1024_BYTES "
    "NUM_PKTS_1024_TO_1514_BYTES NUM_PKTS_OVER_1514_BYTES CUMULATIVE_ICMP_TYPE SRC_IP_COUNTRY "
    "SRC_IP_CITY DST_IP_COUNTRY DST_IP_CITY SRC_IP_LONG SRC_IP_LAT DST_IP_LONG DST_IP_LAT "
    "FLOW_PROTO_PORT UPSTREAM_SESSION_ID DOWNSTREAM_SESSION_ID LONGEST_FLOW_PKT SHORTEST_FLOW_PKT "
    "RETRANSMITTED_IN_BYTES RETRANSMITTED_IN_PKTS RETRANSMITTED_OUT_BYTES RETRANSMITTED_OUT_PKTS "
    "OOORDER_IN_PKTS OOORDER_OUT_PKTS UNTUNNELED_PROTOCOL UNTUNNELED_IPV4_SRC_ADDR "
    "UNTUNNELED_L4_SRC_PORT UNTUNNELED_IPV4_DST_ADDR UNTUNNELED_L4_DST_PORT "
    "UNTUNNELED_IPV6_SRC_ADDR UNTUNNELED_IPV6_DST_ADDR FLOW_CONTENT_TYPE L7_DOMAIN_INFO "
    "BITTORRENT_HASH FLOW_USER_NAME FLOW_SERVER_NAME PLUGIN_NAME NUM_PKTS_TTL_EQ_1 "
    "NUM_PKTS_TTL_2_5 NUM_PKTS_TTL_5_32 NUM_PKTS_TTL_32_64 NUM_PKTS_TTL_64_96 NUM_PKTS_TTL_96_128 "
    "NUM_PKTS_TTL_128_160 NUM_PKTS_TTL_160_192 NUM_PKTS_TTL_192_224 NUM_PKTS_TTL_224_255 "
    "IN_SRC_OSI_SAP OUT_DST_OSI_SAP DURATION_IN DURATION_OUT TCP_WIN_MIN_IN TCP_WIN_MAX_IN "
    "TCP_WIN_MSS_IN TCP_WIN_SCALE_IN TCP_WIN_MIN_OUT TCP_WIN_MAX_OUT TCP_WIN_MSS_OUT "
    "TCP_WIN_SCALE_OUT PAYLOAD_HASH SRC_AS_MAP DST_AS_MAP SRC_TO_DST_SECOND_BYTES "
    "DST_TO_SRC_SECOND_BYTES JA3C_HASH JA4C_HASH JA3S_HASH SRC_HOST_NAME DST_HOST_NAME TLS_CIPHER "
    "TLS_UNSAFE_CIPHER TLS_VERSION SSL_CIPHER SSL_UNSAFE_CIPHER SSL_VERSION SEQ_PLEN SEQ_TDIFF "
    "SEQ_PLEN_HASH SEQ_TDIFF_HASH PKT_VECTOR HASSH_CLIENT HASSH_SERVER ENTROPY_CLIENT_BYTES "
    "ENTROPY_SERVER_BYTES L7_PROTO_RISK_NAME FLOW_VERDICT SRC_HOST_LABEL DST_HOST_LABEL "
    "SRC_TO_DST_IAT_MIN SRC_TO_DST_IAT_MAX SRC_TO_DST_IAT_AVG SRC_TO_DST_IAT_STDDEV "
    "DST_TO_SRC_IAT_MIN DST_TO_SRC_IAT_MAX DST_TO_SRC_IAT_AVG DST_TO_SRC_IAT_STDDEV AAA_NAT_KEY "
    "L7_ERROR_CODE L7_RISK_INFO ACCOUNT_ID FLOW_ENCRYPTED UNIQUE_SOURCE_ID NPROBE_UUID HTTP_URL "
    "HTTP_METHOD HTTP_RET_CODE HTTP_REFERER HTTP_UA HTTP_USER_AGENT HTTP_MIME HTTP_SITE "
    "HTTP_X_FORWARDED_FOR HTTP_VIA DNS_QUERY_ID DNS_QUERY_TYPE DNS_RET_CODE DNS_NUM_ANSWERS "
    "DNS_TTL_ANSWER DNS_RESPONSE",
    "IMAP_LOGIN MYSQL_SERVER_VERSION MYSQL_USERNAME MYSQL_DB "
    "MYSQL_QUERY MYSQL_RESPONSE MYSQL_APPL_LATENCY_USEC NETBIOS_QUERY_NAME NETBIOS_QUERY_TYPE "
    "NETBIOS_RESPONSE NETBIOS_QUERY_OS POP_USER RADIUS_REQ_MSG_TYPE RADIUS_RSP_MSG_TYPE "
    "RADIUS_USER_NAME RADIUS_CALLING_STATION_ID RADIUS_CALLED_STATION_ID RADIUS_NAS_IP_ADDR "
    "RADIUS_NAS_IDENTIFIER RADIUS_USER_IMSI RADIUS_USER_IMEI RADIUS_FRAMED_IP_ADDR "
    "RADIUS_ACCT_SESSION_ID RADIUS_ACCT_STATUS_TYPE RADIUS_ACCT_IN_OCTETS RADIUS_ACCT_OUT_OCTETS "
    "RADIUS_ACCT_IN_PKTS RADIUS_ACCT_OUT_PKTS RTP_SSRC RTP_FIRST_SEQ RTP_FIRST_TS RTP_LAST_SEQ "
    "RTP_LAST_TS RTP_IN_JITTER RTP_OUT_JITTER RTP_IN_PKT_LOST RTP_OUT_PKT_LOST RTP_IN_PKT_DROP "
    "RTP_OUT_PKT_DROP RTP_IN_PAYLOAD_TYPE RTP_OUT_PAYLOAD_TYPE RTP_IN_MAX_DELTA RTP_OUT_MAX_DELTA "
    "RTP_SIP_CALL_ID RTP_MOS RTP_IN_MOS RTP_OUT_MOS RTP_R_FACTOR RTP_IN_R_FACTOR RTP_OUT_R_FACTOR "
    "RTP_IN_TRANSIT RTP_OUT_TRANSIT RTP_RTT RTP_DTMF_TONES SIP_CALL_ID SIP_CALLING_PARTY "
    "SIP_CALLED_PARTY SIP_RTP_CODECS SIP_REGISTER_MAX_RRD SIP_REGISTER_NUM_OK "
    "SIP_REGISTER_NUM_OTHER SIP_INVITE_TIME SIP_TRYING_TIME SIP_RINGING_TIME SIP_INVITE_OK_TIME "
    "SIP_INVITE_FAILURE_TIME SIP_BYE_TIME SIP_BYE_OK_TIME SIP_CANCEL_TIME SIP_CANCEL_OK_TIME "
    "SIP_RTP_IPV4_SRC_ADDR SIP_RTP_L4_SRC_PORT SIP_RTP_IPV4_DST_ADDR SIP_RTP_L4_DST_PORT "
    "SIP_RESPONSE_CODE SIP_REASON_CAUSE SIP_UAC SIP_UAS SIP_C_IP SIP_CALL_STATE SMTP_MAIL_FROM "
    "SMTP_RCPT_TO SSDP_HOST SSDP_USN SSDP_SERVER SSDP_TYPE SSDP_METHOD",
    NULL};

/* what @NTOPNG@ stands for in nProbe's documentation, the same at first for either work */
#define NTOPNG_BOTH                                                                                \
    "IN_SRC_MAC OUT_DST_MAC INPUT_SNMP OUTPUT_SNMP SRC_VLAN IPV4_SRC_ADDR IPV4_DST_ADDR "          \
    "L4_SRC_PORT L4_DST_PORT SRC_TOS DST_TOS IP_PROTOCOL_VERSION PROTOCOL L7_PROTO "               \
    "L7_CONFIDENCE IN_BYTES IN_PKTS OUT_BYTES OUT_PKTS FIRST_SWITCHED LAST_SWITCHED "              \
    "CLIENT_TCP_FLAGS SERVER_TCP_FLAGS L7_PROTO_RISK L7_RISK_SCORE EXPORTER_IPV4_ADDRESS "         \
    "DIRECTION SAMPLING_INTERVAL TOTAL_FLOWS_EXP NPROBE_IPV4_ADDRESS NPROBE_INSTANCE_NAME "        \
    "FLOW_SOURCE JA4C_HASH UNIQUE_SOURCE_ID "

static const char ntopng_probe[] =
    NTOPNG_BOTH "CLIENT_NW_LATENCY_MS SERVER_NW_LATENCY_MS APPL_LATENCY_MS TCP_WIN_MAX_IN "
                "TCP_WIN_MAX_OUT OOORDER_IN_PKTS OOORDER_OUT_PKTS RETRANSMITTED_IN_PKTS "
                "RETRANSMITTED_OUT_PKTS SRC_FRAGMENTS DST_FRAGMENTS L7_INFO DNS_QUERY "
                "DNS_QUERY_TYPE DNS_RET_CODE HTTP_URL HTTP_SITE HTTP_METHOD HTTP_RET_CODE "
                "TLS_SERVER_NAME BITTORRENT_HASH HTTP_USER_AGENT L7_RISK_INFO";

static const char ntopng_collector[] =
    NTOPNG_BOTH "POST_NAT_SRC_IPV4_ADDR POST_NAT_DST_IPV4_ADDR POST_NAPT_SRC_TRANSPORT_PORT "
                "POST_NAPT_DST_TRANSPORT_PORT";

/* --- finding ------------------------------------------------------------------------------ */

static bool is_name(const char *name, const char *text, size_t size) {
    return strlen(name) == size && strncasecmp(name, text, size) == 0;
}

static NetflowColumn column_of(const Name *name) {
    NetflowColumn column = {.made = true,
                            .kind = name->kind,
                            .offset = name->offset,
                            .reverse_offset = name->offset,
                            .size = name->size,
                            .ipfix = name->ipfix,
                            .v9 = name->v9};
    if (!name->made)
        column = netflow_column_of_field(name->field);
    if (name->ipfix.number)
        column.ipfix = name->ipfix;
    if (name->v9.number)
        column.v9 = name->v9;
    column.width = name->width;
    column.name = name->name;
    return column;
}

/* times of IPFIX are absolute, whatever the name says of uptimes */
static void mend_times(NetflowColumn *column, NetflowVersion version) {
    if (!column->made || version != NETFLOW_IPFIX)
        return;
    if (column->ipfix.number == 152 || column->ipfix.number == 153) {
        const char *name = column->name;
        *column =
            netflow_column_of_field(column->ipfix.number == 152 ? FLOW_FIRST_MS : FLOW_LAST_MS);
        column->name = name;
    }
}

static bool is_element(uint16_t number, const char *text, size_t size) {
    const FlowElement *element = number ? flow_element_find(FLOW_PEN_IANA, number) : NULL;
    return element && is_name(element->name, text, size);
}

/* nProbe has names of IANA for the way back, too: those of its v9 types */
static bool is_row(const FlowField *field, const char *text, size_t size) {
    const bool reverse = field->pen == FLOW_PEN_REVERSE;
    if (!field->element)
        return false;
    if (is_name(field->nprobe_name, text, size) || is_name(field->name, text, size))
        return true;
    if (reverse)
        return is_element(netflow_column_of_field(field->id).v9.number, text, size);
    return is_element(field->pen == FLOW_PEN_IANA ? field->element : 0, text, size) ||
           is_element(field->element_v6, text, size);
}

static bool is_made(const Name *name, const char *text, size_t size) {
    return name->made && (is_element(name->ipfix.pen ? 0 : name->ipfix.number, text, size) ||
                          is_element(name->ipfix.number_v6, text, size) ||
                          is_element(name->v9.number, text, size));
}

static bool has_nprobe_row(const char *text, size_t size) {
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (is_name(flow_fields[i].nprobe_name, text, size))
            return true;
    return false;
}

bool netflow_column_find(const char *text, size_t size, NetflowColumn *column) {
    if (!size)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (is_name(names[i].name, text, size) &&
            (!names[i].spare || !has_nprobe_row(text, size))) {
            *column = column_of(&names[i]);
            return true;
        }
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (is_row(&flow_fields[i], text, size)) {
            *column = netflow_column_of_field((FlowFieldId)i);
            column->name =
                flow_fields[i].nprobe_name[0] ? flow_fields[i].nprobe_name : flow_fields[i].name;
            return true;
        }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (is_made(&names[i], text, size)) {
            *column = column_of(&names[i]);
            return true;
        }
    return false;
}

static bool is_absent(const char *text, size_t size) {
    for (const char *const *list = absent_names; *list; list++)
        for (const char *at = *list; *at; at += strspn(at, " ")) {
            const size_t length = strcspn(at, " ");
            if (length == size && strncasecmp(at, text, size) == 0)
                return true;
            at += length;
        }
    return false;
}

/* --- near names --------------------------------------------------------------------------- */

enum { NAME_MAX_BYTES = 40, NEAR = 3 };

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* letters to change, put in or leave out to come from one to the other */
static unsigned distance(const char *name, const char *text, size_t size) {
    unsigned row[NAME_MAX_BYTES + 1];
    const size_t n = strlen(name);
    if (size > NAME_MAX_BYTES || n > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (size_t k = 0; k <= size; k++)
        row[k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned before = row[0];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= size; k++) {
            const unsigned here = row[k];
            const unsigned changed = before + (upper(name[i - 1]) != upper(text[k - 1]));
            row[k] = least(changed, least(row[k], row[k - 1]) + 1);
            before = here;
        }
    }
    return row[size];
}

typedef struct Nearest {
    const char *names[NEAR];
    unsigned far[NEAR];
} Nearest;

static void nearest_try(Nearest *nearest, const char *name, const char *text, size_t size) {
    const unsigned far = name[0] ? distance(name, text, size) : NAME_MAX_BYTES;
    if (far > 2 + size / 4)
        return;
    for (size_t i = 0; i < NEAR; i++) {
        if (nearest->names[i] && strcmp(nearest->names[i], name) == 0)
            return;
        if (!nearest->names[i] || far < nearest->far[i]) {
            for (size_t k = NEAR - 1; k > i; k--) {
                nearest->names[k] = nearest->names[k - 1];
                nearest->far[k] = nearest->far[k - 1];
            }
            nearest->names[i] = name;
            nearest->far[i] = far;
            return;
        }
    }
}

static int unknown(const char *text, size_t size, Reason *reason) {
    Nearest nearest = {0};
    Buffer near = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        nearest_try(&nearest, names[i].name, text, size);
    for (size_t i = 0; i < _FLOW_FIELD_N; i++)
        if (flow_fields[i].element)
            nearest_try(&nearest, flow_fields[i].nprobe_name, text, size);
    for (size_t i = 0; i < NEAR && nearest.names[i]; i++)
        buffer_printf(&near, "%s%%%s", i ? ", " : "", nearest.names[i]);
    reason_set(reason, "-T: there is no field %%%.*s; %s%s", (int)(size < 60 ? size : 60), text,
               near.size ? "near it: " : "docs/collectors.md says which there are",
               buffer_text(&near));
    buffer_deinit(&near);
    return NETFLOW_E_USAGE;
}

/* --- a template --------------------------------------------------------------------------- */

typedef struct Parse {
    NetflowFields *fields;
    NetflowVersion version;
    bool collecting, in_macro;
    Buffer *absent;
    Reason *reason;
} Parse;

static const NetflowElement *element_of(const NetflowColumn *column, NetflowVersion version) {
    return version == NETFLOW_9 ? &column->v9 : &column->ipfix;
}

static int add(Parse *parse, const NetflowColumn *column) {
    NetflowFields *fields = parse->fields;
    const NetflowElement *element = element_of(column, parse->version);
    if (!element->number) {
        reason_set(parse->reason, "-T: %%%s has no element in NetFlow v9; take -V 10 for it",
                   column->name);
        return NETFLOW_E_USAGE;
    }
    for (size_t i = 0; i < fields->n; i++) {
        const NetflowElement *other = element_of(&fields->columns[i], parse->version);
        if (other->pen == element->pen && other->number == element->number)
            return 0; /* named twice, or the address of either family */
    }
    if (fields->n == NETFLOW_COLUMNS_MAX) {
        reason_set(parse->reason, "-T: more than %d fields", NETFLOW_COLUMNS_MAX);
        return NETFLOW_E_USAGE;
    }
    fields->columns[fields->n++] = *column;
    return 0;
}

static int words(Parse *parse, const char *text);

static int word(Parse *parse, const char *text, size_t size) {
    NetflowColumn column;
    if (text[0] == '@' && !parse->in_macro) {
        if (!is_name("@NTOPNG@", text, size)) {
            reason_set(parse->reason, "-T %.*s: @NTOPNG@ is the one list that has a name",
                       (int)(size < 60 ? size : 60), text);
            return NETFLOW_E_USAGE;
        }
        parse->in_macro = true;
        const int r = words(parse, parse->collecting ? ntopng_collector : ntopng_probe);
        parse->in_macro = false;
        return r;
    }
    if (text[0] == '%') {
        text++;
        size--;
    }
    if (netflow_column_find(text, size, &column)) {
        mend_times(&column, parse->version);
        if (parse->in_macro && !element_of(&column, parse->version)->number)
            return 0;
        return add(parse, &column);
    }
    if (!is_absent(text, size))
        return unknown(text, size, parse->reason);
    if (!parse->in_macro)
        buffer_printf(parse->absent, "%s%%%.*s", parse->absent->size ? ", " : "", (int)size, text);
    return 0;
}

static int words(Parse *parse, const char *text) {
    static const char between[] = " \t\r\n,\"'";
    int r = 0;
    while (r == 0 && *text) {
        text += strspn(text, between);
        size_t size = strcspn(text, between);
        /* %A%B, as some write it; and a list by name ends with its second @ */
        for (size_t i = 1; i < size; i++)
            if (text[i] == '%' || (text[i] == '@' && text[0] != '@'))
                size = i;
            else if (text[i] == '@')
                size = i + 1;
        if (size)
            r = word(parse, text, size);
        text += size;
    }
    return r;
}

int netflow_fields_parse(NetflowFields *fields, const char *text, NetflowVersion version,
                         bool collecting, Buffer *absent, Reason *reason) {
    NetflowFields found = {0};
    Parse parse = {.fields = &found,
                   .version = version,
                   .collecting = collecting,
                   .absent = absent,
                   .reason = reason};
    int r = words(&parse, text);
    if (r == 0 && absent->failed)
        r = error_origin(-ENOMEM);
    if (r)
        return r;
    if (!found.n) {
        reason_set(reason,
                   "-T %.60s: names no field that there is; for example -T \"%%IPV4_SRC_ADDR "
                   "%%IPV4_DST_ADDR %%IN_BYTES\", or -T @NTOPNG@",
                   text);
        return NETFLOW_E_USAGE;
    }
    for (size_t i = 0; i < found.n; i++)
        found.both |= !found.columns[i].made &&
                      (found.columns[i].offset == flow_fields[FLOW_REV_OCTETS].offset ||
                       found.columns[i].offset == flow_fields[FLOW_REV_PACKETS].offset);
    *fields = found;
    return 0;
}
