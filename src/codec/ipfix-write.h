#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * IPFIX Writing
 *
 * The parts of a message that every encoder writes the same way: header, template, record.
 */

#include <stdint.h>

#include "base/buffer.h"
#include "codec/ipfix-layout.h"

/** ipfix_header_write() - 16 bytes; the length, at 2, is patched later */
void ipfix_header_write(Buffer *to, uint32_t domain, uint32_t sequence, uint64_t export_ms);

/** ipfix_template_write() - one definition, without a set around it; of NetFlow v9 too, as long as
 * no field has a PEN */
void ipfix_template_write(Buffer *to, const Template *template);

/** ipfix_record_write() - to room that the caller made; the byte behind it */
uint8_t *ipfix_record_write(uint8_t *to, const Template *template, const FlowRecord *record);
