#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Load
 *
 * Datagrams of an exporter that meters much: made once, the same for the same numbers, and sent
 * round and round. Beside each stands what a collector must read out of it, as a number of records
 * and the sum of their checksums (collect_checksum_add()). The records are made first and the
 * bytes from them, by code that shares nothing with the collector's reading but the table of
 * fields.
 */

#include <stddef.h>
#include <stdint.h>

typedef enum LoadKind {
    LOAD_V5 = 5,
    LOAD_V9 = 9,
    LOAD_IPFIX = 10,
    LOAD_SFLOW = 16,
} LoadKind;

typedef struct LoadConfig {
    LoadKind kind;
    uint32_t flows; /* distinct ones; the load begins anew behind them */
    uint32_t seed;
    uint32_t time_s;       /* of the exporter's clock, which stands still */
    uint32_t per_datagram; /* 0: what fits in 1400 bytes */
} LoadConfig;

typedef struct LoadDatagram {
    uint32_t at, size;
    uint32_t flows;
    uint64_t checksum;
} LoadDatagram;

typedef struct Load {
    LoadKind kind;
    uint8_t *bytes;
    LoadDatagram *datagrams;
    size_t n;
    uint8_t definition[512]; /* the template, as a datagram of its own; of v5 and sFlow none */
    uint32_t definition_bytes;
} Load;

/** load_make() - 0, or -1 without memory */
int load_make(Load *load, const LoadConfig *config);
void load_deinit(Load *load);

/** load_number() - put its sequence number into a datagram; the number of the next one */
uint32_t load_number(const Load *load, uint8_t *bytes, uint32_t flows, uint32_t sequence);

/** load_kind() - of "5", "9", "10" or "ipfix", "sflow"; 0: none of these */
LoadKind load_kind(const char *text);
