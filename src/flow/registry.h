#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Registries
 *
 * Names that IANA and others give to numbers, out of spec/registry. Constant data, any thread.
 */

#include <stdbool.h>
#include <stdint.h>

/* abstract data types of IPFIX: RFC 7012 section 3.1, RFC 6313 */
typedef enum FlowAbstract {
    FLOW_ABSTRACT_OCTET_ARRAY,
    FLOW_ABSTRACT_UNSIGNED8,
    FLOW_ABSTRACT_UNSIGNED16,
    FLOW_ABSTRACT_UNSIGNED32,
    FLOW_ABSTRACT_UNSIGNED64,
    FLOW_ABSTRACT_SIGNED8,
    FLOW_ABSTRACT_SIGNED16,
    FLOW_ABSTRACT_SIGNED32,
    FLOW_ABSTRACT_SIGNED64,
    FLOW_ABSTRACT_FLOAT32,
    FLOW_ABSTRACT_FLOAT64,
    FLOW_ABSTRACT_BOOLEAN,
    FLOW_ABSTRACT_MAC_ADDRESS,
    FLOW_ABSTRACT_STRING,
    FLOW_ABSTRACT_DATE_TIME_SECONDS,
    FLOW_ABSTRACT_DATE_TIME_MILLISECONDS,
    FLOW_ABSTRACT_DATE_TIME_MICROSECONDS,
    FLOW_ABSTRACT_DATE_TIME_NANOSECONDS,
    FLOW_ABSTRACT_IPV4_ADDRESS,
    FLOW_ABSTRACT_IPV6_ADDRESS,
    FLOW_ABSTRACT_BASIC_LIST,
    FLOW_ABSTRACT_SUB_TEMPLATE_LIST,
    FLOW_ABSTRACT_SUB_TEMPLATE_MULTI_LIST,
} FlowAbstract;

typedef struct FlowElement {
    uint32_t pen;
    uint16_t number;
    const char *name;
    FlowAbstract type;
    bool reversible; /* may stand under PEN 29305 */
} FlowElement;

/* an information element; that of 29305 is the one it reverses. NULL: unknown */
const FlowElement *flow_element_find(uint32_t pen, uint16_t number);

/* "https" of TCP and 443; NULL: unknown */
const char *flow_service_name(uint8_t protocol, uint16_t port);
