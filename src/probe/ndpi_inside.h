#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * nDPI, Inside
 *
 * What of libndpi 4.2 is done otherwise here: the memory that it keeps for each TCP flow between
 * packets, and a few functions that are two fifths of its work. It takes them from the program that
 * it is linked with, where the dynamic linker looks first. Results are the same, but SHA-1 of
 * certificates is not computed: docs/decisions/ndpi-inside.md.
 */

#include <stdbool.h>

struct ndpi_flow_struct;

/* a buffer that is between two flows; NULL at first */
typedef struct NdpiSpare {
    void *buffer;
} NdpiSpare;

/** ndpi_pack() - after a packet: what may be TLS holds no more memory than bytes. True: it had a
 * buffer with nothing in it, which it is to have again */
bool ndpi_pack(struct ndpi_flow_struct *flow, NdpiSpare *spare);

/** ndpi_unpack() - before the next one, and before the end; with what was said after the last one
 */
void ndpi_unpack(struct ndpi_flow_struct *flow, NdpiSpare *spare, bool empty);

void ndpi_spare_deinit(NdpiSpare *spare);
