#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* What a plan is made of; of plan.c and read.c. */

#include "collect/plan.h"

typedef enum PlanCode {
    PLAN_RUN,          /* take `bytes` off the cursor: what the ops after it read */
    PLAN_VARIABLE_RUN, /* the same, as many as the length before them says */
    PLAN_8_TO_8,       /* bits on the wire to bits of the member */
    PLAN_16_TO_16,
    PLAN_32_TO_32,
    PLAN_64_TO_64,
    PLAN_32_TO_64,
    PLAN_8_TO_16,
    PLAN_16_TO_32,
    PLAN_NUMBER,      /* any other pair of widths (RFC 7011 section 6.2) */
    PLAN_NUMBER_ELSE, /* the same, of a member that another element names too: 0 changes nothing */
    PLAN_IPV4,        /* of a member that several elements name */
    PLAN_IPV6,
    PLAN_IPV4_ONLY, /* of a member that nothing else names */
    PLAN_IPV6_ONLY,
    PLAN_MAPPED, /* of either family in 16 bytes, IPv4 as ::ffff:a.b.c.d */
    PLAN_MAC,
    PLAN_TEXT, /* or bytes; NULs at the end of one of fixed length are left off where it is of the
                  flow, else by who shows it */
    PLAN_SECONDS,
    PLAN_NTP,       /* 64 bits since 1900, half of them fraction (section 6.1.9) */
    PLAN_BEFORE_US, /* microseconds before the export time */
    PLAN_DURATION_US,
    PLAN_MS_TO_US,    /* milliseconds, of a member in microseconds; the most where they are more */
    PLAN_UPTIME,      /* milliseconds since the exporter started */
    PLAN_PROBABILITY, /* a float: one of so many */
    PLAN_KEEP,        /* as it is; `to` is which of plan->unknown */
    PLAN_TYPE_CODE,   /* ICMP type * 256 + code */
    PLAN_LABEL,       /* MPLS label stack entry, its TTL left off */
    _PLAN_CODE_N,
} PlanCode;

typedef struct PlanOp {
    uint8_t code;
    uint8_t size; /* of the member */
    uint16_t bytes;
    uint16_t from; /* in the run */
    uint16_t to;   /* in the record */
} PlanOp;

/** plan_code_reads() - whether it does a value of so many bytes; texts have any length */
static inline bool plan_code_reads(PlanCode code, size_t bytes) {
    static const uint8_t exact[_PLAN_CODE_N] = {
        [PLAN_IPV4] = 4,      [PLAN_IPV6] = 16,     [PLAN_IPV4_ONLY] = 4, [PLAN_IPV6_ONLY] = 16,
        [PLAN_MAPPED] = 16,   [PLAN_MAC] = 6,       [PLAN_NTP] = 8,       [PLAN_SECONDS] = 4,
        [PLAN_BEFORE_US] = 4, [PLAN_TYPE_CODE] = 2, [PLAN_LABEL] = 3,
    };
    if (code == PLAN_TEXT || code == PLAN_KEEP)
        return true;
    if (code == PLAN_PROBABILITY)
        return bytes == 4 || bytes == 8; /* section 6.2: a double may be sent as a float */
    return exact[code] ? bytes == exact[code] : bytes > 0 && bytes <= 8;
}
