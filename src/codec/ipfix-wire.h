#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers of RFC 7011 that encoder and decoder share. */

enum {
    IPFIX_VERSION = 10,
    IPFIX_HEADER_BYTES = 16,
    IPFIX_SET_HEADER_BYTES = 4,
    IPFIX_SET_TEMPLATE = 2,
    IPFIX_SET_OPTIONS = 3,
    IPFIX_SET_DATA = 256,
    IPFIX_VARIABLE = 65535,        /* a field length: variable, section 7 */
    IPFIX_ENTERPRISE_BIT = 0x8000, /* of an element id: a PEN follows */

    IPFIX_EXPORTING_PROCESS_ID = 144,
    IPFIX_SYSTEM_INIT_MS = 160,
    IPFIX_FLOW_DURATION_MS = 161,
    IPFIX_NOT_SENT_FLOWS = 166,
    IPFIX_NOT_SENT_PACKETS = 167,
    IPFIX_NOT_SENT_OCTETS = 168,
};
