/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The cursors' file, with a checksum put right so that the parser behind it is reached, and then
 * what is asked of a spool that has read it.
 */

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 16 || size > 1 << 16)
        return 0;
    Spool *spool = NULL;
    const SpoolConfig config = {.memory_bytes = 1 << 20, .n_hubs = 2, .hubs = {1, 2}};
    uint8_t *bytes = malloc(size);
    if (!bytes || spool_new(&spool, &config, NULL) != 0)
        abort();
    memcpy(bytes, data, size);
    uint32_t crc = crc32c(0, bytes, size - 4);
    for (size_t i = 0; i < 4; i++)
        bytes[size - 4 + i] = (uint8_t)(crc >> (24 - 8 * i));
    (void)cursors_parse(spool, bytes, size);
    for (size_t i = 0; i < spool->n_epochs; i++)
        for (unsigned k = 0; k < spool->epochs[i]->n_holders; k++)
            spool->epochs[i]->holders[k].hub = (int)k % 2;
    SpoolFormer former;
    for (size_t i = 0; i < 64 && spool_former(spool, 0, i, &former); i++) {
        SpoolBatch batch;
        if (spool_peek(spool, 0, &former.epoch, former.stored + 1, &batch) == 0 && !batch.gap)
            abort(); /* there is no segment */
    }
    SpoolStatus status;
    spool_publish(spool);
    spool_status(spool, &status);
    spool_sweep(spool);
    spool_free(spool);
    free(bytes);
    return 0;
}
