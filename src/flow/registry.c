/* SPDX-License-Identifier: Apache-2.0 */

#include "flow/registry.h"

#include <stddef.h>
#include <stdlib.h>

#include "flow/field.h"

typedef struct Service {
    uint8_t protocol;
    uint16_t port;
    const char *name;
} Service;

static const char *const protocols[256] = {
#include "protocols.inc"
};

static const Service services[] = {
#include "services.inc"
};

static const FlowElement elements[] = {
#include "elements.inc"
};

const char *flow_protocol_name(uint8_t protocol) {
    return protocols[protocol];
}

static int service_compare(const void *a, const void *b) {
    const Service *x = a;
    const Service *y = b;
    return x->protocol != y->protocol ? x->protocol - y->protocol : x->port - y->port;
}

const char *flow_service_name(uint8_t protocol, uint16_t port) {
    Service key = {.protocol = protocol, .port = port};
    const Service *found = bsearch(&key, services, sizeof(services) / sizeof(services[0]),
                                   sizeof(services[0]), service_compare);
    return found ? found->name : NULL;
}

static int element_compare(const void *a, const void *b) {
    const FlowElement *x = a;
    const FlowElement *y = b;
    if (x->pen != y->pen)
        return x->pen < y->pen ? -1 : 1;
    return x->number - y->number;
}

const FlowElement *flow_element_find(uint32_t pen, uint16_t number) {
    FlowElement key = {.pen = pen == FLOW_PEN_REVERSE ? FLOW_PEN_IANA : pen, .number = number};
    return bsearch(&key, elements, sizeof(elements) / sizeof(elements[0]), sizeof(elements[0]),
                   element_compare);
}
