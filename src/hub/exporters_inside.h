#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/* Exporters, inside: what exporters.c (the table) and exporters_report.c (what probes say, and what
 * it means) share. All but exporters_begin() want the lock to be held. */

#include "hub/exporters.h"

void exporters_begin(Exporters *exporters);

/** exporters_find_new() - NULL: there are too many, or no memory */
Exporter *exporters_find_new(Exporters *exporters, const PeerKey *probe, const NetAddress *ip);
ExporterDomain *exporter_domain(Exporter *exporter, uint32_t version, uint32_t domain,
                                uint32_t sub_agent);

/** exporters_grown() - an interface has counted; it waits to be stored */
void exporters_grown(Exporters *exporters, const StoreCounter *counter);

/** exporter_name_place() - where a name is or would be */
size_t exporter_name_place(const Exporter *exporter, ExporterNameKind kind, uint64_t key,
                           bool *foundp);
