#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Accounts of Exporters
 *
 * What became of what a domain of an exporter has sent, in the units that it numbers: flows of v5
 * and v7, data records of IPFIX (RFC 7011 section 3.1), datagrams of v9, sFlow and, which number
 * nothing, v1. Each unit is in one place, so that at every moment
 *
 *     sent = decoded + lost + dropped + no template + malformed + held
 *
 * A gap in the numbers is `dropped` when the probe's own sockets dropped datagrams meanwhile, and
 * `lost` when they did not. What comes late fills its gap again. How many records of IPFIX an
 * unreadable set had is told by the number of the next message: they are where their set is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Collector Collector;
typedef struct CollectSource CollectSource;
typedef struct Domain Domain;
typedef struct Held Held;

/* the worst of several counts; held ones may still become any other */
typedef enum CollectFate {
    COLLECT_DECODED,
    COLLECT_LOST,
    COLLECT_DROPPED,
    COLLECT_NO_TEMPLATE,
    COLLECT_MALFORMED,
    COLLECT_HELD,
    _COLLECT_FATE_N,
} CollectFate;

extern const char *const collect_fate_names[_COLLECT_FATE_N];

typedef struct CollectAccount {
    uint64_t sent;
    uint64_t units[_COLLECT_FATE_N];
    uint64_t resets; /* the numbers went back, or far ahead */

    /* between messages */
    bool has_sequence;
    uint32_t sequence;   /* of the next message */
    uint32_t gap, gap_n; /* first number of the last gap, and how many it had */
    uint32_t missing;    /* of these, may still come */
    bool late;           /* the message being read does */
    uint64_t drops;      /* of our sockets, when its last datagram came */
    CollectFate doubt;   /* what units before the next message's number are */
    CollectFate residue; /* what held ones become that no set turned out to have */
} CollectAccount;

static inline CollectFate collect_worse(CollectFate a, CollectFate b) {
    return a > b ? a : b;
}

/** account_message() - its number, and the units it is: of IPFIX 0, for these are counted later */
void account_message(Collector *collector, Domain *domain, const CollectSource *source,
                     uint32_t sequence, uint32_t n);
/** account_units() - n of the message's units; those of IPFIX move its number on */
void account_units(Domain *domain, CollectFate fate, uint32_t n);
/** account_records() - of IPFIX, at the end: the records read, and what the others are */
void account_records(Collector *collector, Domain *domain, uint32_t n, CollectFate doubt);
/** account_datagram() - of v9, at the end */
void account_datagram(Domain *domain, CollectFate fate, Held *held);

/** account_late() - a set that was held is read, n records of it, or given up */
void account_late(Domain *domain, const Held *held, uint32_t n, CollectFate fate);
