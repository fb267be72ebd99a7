#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* The readers of each version, and what they share; inside this layer. */

#include "base/cursor.h"
#include "collect/state.h"
#include "net/dissect.h"

/* a datagram being read */
typedef struct Message {
    Collector *collector;
    const CollectSource *source;
    Exporter *exporter;
    Domain *domain; /* NULL until the header is read */
    bool relayed;   /* the exporter is not who sent it */
    MessageClock when;
    const uint8_t *bytes;
    size_t size;
    CollectFate fate; /* the worst that was found in it */
} Message;

/* all take the whole datagram; 0 or -ENOMEM */
int collect_netflow1(Message *message);
int collect_netflow5(Message *message);
int collect_netflow7(Message *message);
int collect_netflow9(Message *message);
int collect_ipfix(Message *message);
int collect_sflow(Message *message);

/** collect_define() - records of templates, as in their set, for the message's domain; 0 or -ENOMEM
 */
int collect_define(Message *message, bool options, const uint8_t *bytes, size_t size);

/** message_domain() - false, counted: there are too many */
bool message_domain(Message *message, uint8_t version, uint32_t id, uint32_t sub_id);

static inline void message_malformed(Message *message, int reason) {
    collect_count(message->collector, reason, 1);
    message->fate = collect_worse(message->fate, COLLECT_MALFORMED);
}

/* a record for reading, cleared; of its lists, which are long and mostly
 * empty, only the lengths. The size is a variable so that it is libc's memset that does it. */
static inline void record_clear(CollectRecord *record, size_t clear_bytes) {
    memset(record, 0, clear_bytes);
    record->mpls_labels.n = record->hdr_vlans.n = record->as_path.n = 0;
    record->n_unknown = 0;
}

static inline CollectRecord *message_record(Message *message) {
    record_clear(&message->collector->record, message->collector->clear_bytes);
    return &message->collector->record;
}

/** message_records() - the collector's records, as a plan wants them to read n; at most
 * COLLECT_BATCH, whatever is asked */
CollectRecord *message_records(Message *message, const Plan *plan, size_t *np);

/** message_emit() - a flow has been read: what the domain knows is added, and it goes on its way */
void message_emit(Message *message, CollectRecord *record, const MessageClock *when);

/** section_read() - the packet of a frame section or a sampled header into the record; false when
 * it holds no IP packet. `wire_bytes` of it may be more than are here */
bool section_read(CollectRecord *record, const uint8_t *bytes, size_t size, uint32_t wire_bytes,
                  uint16_t link_type);

/* why packets were dropped, in words that last; empty: there are none for it */
FlowText drop_text_sflow(uint32_t reason); /* sFlow's drop_reason */
FlowText drop_text_status(uint8_t status); /* forwardingStatus, RFC 7270 section 4.12 */
