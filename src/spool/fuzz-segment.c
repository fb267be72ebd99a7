/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The bytes of a segment: whatever they are, the scan moves on, what it gives lies within them, and
 * a head that is read is written back as it was.
 */

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    RecordScan scan = {.bytes = data, .size = size};
    Record record;
    size_t offset = 0;
    size_t end = 0;
    bool whole = false;
    Buffer back = {0};
    while (record_scan(&scan, &record, &offset, &whole)) {
        size_t head_bytes = 0;
        if (offset < end || scan.at > size || scan.at <= offset ||
            record_read(&record, &head_bytes, data + offset, size - offset) != 0)
            abort();
        buffer_clear(&back);
        record_write(&back, &record);
        if (back.size != head_bytes ||
            memcmp(back.bytes + 14 + 2, data + offset + 14 + 2, head_bytes - 16 - 4) != 0)
            abort(); /* but for what is reserved and the checksum that covers it */
        if (whole)
            (void)record_payload_sound(&record, data + offset + head_bytes);
        end = scan.at;
    }
    if (scan.torn_bytes > size)
        abort();
    buffer_deinit(&back);
    return 0;
}
