/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/dpi_facts.h"

#include <ndpi_main.h>
#include <string.h>

static bool is_one(uint16_t app, uint16_t master, const uint16_t *numbers) {
    for (; *numbers != NDPI_PROTOCOL_UNKNOWN; numbers++)
        if (app == *numbers || master == *numbers)
            return true;
    return false;
}

static const uint16_t tls[] = {NDPI_PROTOCOL_TLS,        NDPI_PROTOCOL_QUIC,
                               NDPI_PROTOCOL_DTLS,       NDPI_PROTOCOL_MAIL_SMTPS,
                               NDPI_PROTOCOL_MAIL_IMAPS, NDPI_PROTOCOL_MAIL_POPS,
                               NDPI_PROTOCOL_UNKNOWN};
static const uint16_t dns[] = {NDPI_PROTOCOL_DNS, NDPI_PROTOCOL_MDNS, NDPI_PROTOCOL_LLMNR,
                               NDPI_PROTOCOL_UNKNOWN};

static void put(Metadata *metadata, MetadataText which, const char *text) {
    if (text)
        metadata_put(metadata, which, text, strlen(text));
}

static void put_array(Metadata *metadata, MetadataText which, const char *text, size_t most) {
    metadata_put(metadata, which, text, strnlen(text, most));
}

static void take_tls(const struct ndpi_flow_struct *flow, Metadata *m) {
    m->tls_version = flow->protos.tls_quic.ssl_version;
    m->tls_cipher = flow->protos.tls_quic.server_cipher;
    put_array(m, METADATA_JA3C, flow->protos.tls_quic.ja3_client,
              sizeof(flow->protos.tls_quic.ja3_client));
    put_array(m, METADATA_JA3S, flow->protos.tls_quic.ja3_server,
              sizeof(flow->protos.tls_quic.ja3_server));
    put(m, METADATA_ALPN, flow->protos.tls_quic.alpn);
    put(m, METADATA_SUBJECT, flow->protos.tls_quic.subjectDN);
    put(m, METADATA_ISSUER, flow->protos.tls_quic.issuerDN);
}

DpiSender dpi_facts_sender(const struct ndpi_flow_struct *flow) {
    const uint16_t app = flow->detected_protocol_stack[0];
    const uint16_t master = flow->detected_protocol_stack[1];
    if (flow->http.method != NDPI_HTTP_METHOD_UNKNOWN)
        return DPI_SENDER_CLIENT;
    if (flow->http.response_status_code)
        return DPI_SENDER_SERVER;
    /* the rest is a union */
    if (is_one(app, master, dns))
        return flow->protos.dns.is_query                                      ? DPI_SENDER_CLIENT
               : flow->protos.dns.num_queries || flow->protos.dns.num_answers ? DPI_SENDER_SERVER
                                                                              : DPI_SENDER_UNKNOWN;
    if (is_one(app, master, tls)) {
        if (flow->protos.tls_quic.ja3_client[0])
            return DPI_SENDER_CLIENT;
        if (flow->protos.tls_quic.ja3_server[0])
            return DPI_SENDER_SERVER;
    }
    return DPI_SENDER_UNKNOWN;
}

void dpi_facts_take(const struct ndpi_flow_struct *flow, uint16_t app, uint16_t master,
                    Metadata *m) {
    put_array(m, METADATA_SERVER_NAME, flow->host_server_name, sizeof(flow->host_server_name));
    if (is_one(app, master, tls))
        take_tls(flow, m);
    else if (is_one(app, master, dns)) {
        m->dns_type = flow->protos.dns.query_type;
        m->dns_rcode = flow->protos.dns.reply_code;
    }
    if (flow->http.method != NDPI_HTTP_METHOD_UNKNOWN)
        put(m, METADATA_METHOD, ndpi_http_method2str(flow->http.method));
    m->http_status = flow->http.response_status_code;
    put(m, METADATA_URL, flow->http.url);
    put(m, METADATA_USER_AGENT, flow->http.user_agent);
}
