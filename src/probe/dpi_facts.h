#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What nDPI keeps of a flow beside its protocol, as metadata. Much of it shares memory, so which of
 * it may be read depends on the protocol that was found.
 */

#include <stdint.h>

#include "probe/dpi.h"
#include "probe/metadata.h"

struct ndpi_flow_struct;

/** dpi_facts_sender() - see dpi_sender() */
DpiSender dpi_facts_sender(const struct ndpi_flow_struct *flow);

/** dpi_facts_take() - into cleared metadata, of a flow of this protocol and what carries it */
void dpi_facts_take(const struct ndpi_flow_struct *flow, uint16_t app, uint16_t master,
                    Metadata *metadata);
