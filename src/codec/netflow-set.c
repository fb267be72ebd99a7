/* SPDX-License-Identifier: Apache-2.0 */

/* the frame of a message: header and sets */

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "codec/ipfix-wire.h"
#include "codec/ipfix-write.h"
#include "codec/netflow-inside.h"

size_t netflow_header_bytes(NetflowVersion version) {
    return version == NETFLOW_5   ? V5_HEADER_BYTES
           : version == NETFLOW_9 ? V9_HEADER_BYTES
                                  : IPFIX_HEADER_BYTES;
}

void netflow_begin(const NetflowStream *stream, NetflowMessage *message) {
    const size_t bytes = netflow_header_bytes(stream->version);
    netflow_clear(message);
    uint8_t *at = buffer_reserve(&message->bytes, bytes);
    if (at) {
        memset(at, 0, bytes);
        message->bytes.size += bytes;
    }
}

void netflow_clear(NetflowMessage *message) {
    Buffer bytes = message->bytes;
    buffer_clear(&bytes);
    *message = (NetflowMessage){.bytes = bytes};
}

void netflow_message_deinit(NetflowMessage *message) {
    buffer_deinit(&message->bytes);
    *message = (NetflowMessage){0};
}

void netflow_set_open(NetflowMessage *message, uint16_t id) {
    message->set = message->bytes.size;
    buffer_put_u16(&message->bytes, id);
    buffer_put_u16(&message->bytes, 0);
}

/* sets of v9 end at a multiple of four bytes (RFC 3954 section 5.3) */
void netflow_set_close(const NetflowStream *stream, NetflowMessage *message) {
    Buffer *to = &message->bytes;
    while (message->set && stream->version == NETFLOW_9 && (to->size - message->set) % 4 &&
           !to->failed)
        buffer_put_u8(to, 0);
    if (message->set && !to->failed)
        buffer_patch_u16(to, message->set + 2, (uint16_t)(to->size - message->set));
    message->set = 0;
}

size_t netflow_templates_write(Buffer *to, const NetflowStream *stream, uint16_t mask) {
    const size_t start = to->size;
    size_t n = 0;
    buffer_put_u16(to, stream->version == NETFLOW_9 ? V9_SET_TEMPLATE : IPFIX_SET_TEMPLATE);
    buffer_put_u16(to, 0);
    for (unsigned variant = 0; variant < NETFLOW_VARIANTS; variant++)
        if (mask & (1u << variant) && stream->templates[variant].n) {
            netflow_template_write(to, &stream->templates[variant]);
            n++;
        }
    if (n == 0)
        to->size = start;
    else if (!to->failed)
        buffer_patch_u16(to, start + 2, (uint16_t)(to->size - start));
    return n;
}

/* --- headers ------------------------------------------------------------------------------ */

/* the time is told in seconds, so the uptime is that of the second's beginning */
static void header_v9(const NetflowStream *stream, NetflowMessage *message, uint64_t export_ms) {
    Buffer *to = &message->bytes;
    const uint64_t export_s = export_ms / 1000;
    const uint64_t boot_ms = netflow_least(stream->boot_ms, export_s * 1000);
    buffer_put_u16(to, NETFLOW_9);
    buffer_put_u16(to, (uint16_t)(message->templates + message->records));
    buffer_put_u32(to, (uint32_t)(export_s * 1000 - boot_ms));
    buffer_put_u32(to, (uint32_t)export_s);
    buffer_put_u32(to, stream->sequence);
    buffer_put_u32(to, stream->domain);
}

/* to the room that netflow_begin() left */
static void header_write(const NetflowStream *stream, NetflowMessage *message, uint64_t export_ms) {
    const size_t size = message->bytes.size;
    if (stream->version != NETFLOW_IPFIX) {
        export_ms = export_ms < stream->boot_ms ? stream->boot_ms : export_ms;
        export_ms = netflow_least(export_ms, stream->boot_ms + UINT32_MAX);
    }
    message->bytes.size = 0;
    if (stream->version == NETFLOW_5)
        netflow5_header(stream, message, export_ms);
    else if (stream->version == NETFLOW_9)
        header_v9(stream, message, export_ms);
    else
        ipfix_header_write(&message->bytes, stream->domain, stream->sequence, export_ms);
    message->bytes.size = size;
    if (stream->version == NETFLOW_IPFIX)
        buffer_patch_u16(&message->bytes, 2, (uint16_t)size);
}

int netflow_end(NetflowStream *stream, NetflowMessage *message, uint64_t export_ms) {
    netflow_set_close(stream, message);
    if (message->bytes.failed)
        return error_origin(-ENOMEM);
    if (!message->records && !message->templates) {
        netflow_clear(message);
        return 0;
    }
    header_write(stream, message, export_ms);
    stream->sequence += stream->version == NETFLOW_9 ? 1 : (uint32_t)message->records;
    stream->messages++;
    stream->records += message->counts.flows ? message->records : 0;
    stream->octets += message->bytes.size;
    return 0;
}
