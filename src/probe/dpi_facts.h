#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What nDPI keeps of a flow beside its protocol, as metadata. Much of it shares memory, so which of
 * it may be read depends on the protocol that was found.
 */

#include <ndpi_main.h>

#include "probe/metadata.h"

void dpi_facts_take(const struct ndpi_flow_struct *flow, ndpi_protocol found, Metadata *metadata);
