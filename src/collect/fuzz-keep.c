/* SPDX-License-Identifier: Apache-2.0 */

/* Input: what was kept, without its frame, which is put around it; it is taken, and kept again. */

#include "base/crc32c.h"
#include "collect/fuzz-inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Buffer lines = {0};
    Buffer kept = {0};
    Collector *collector = fuzz_collector(&lines, 4096);
    collect_keep_begin(&kept);
    buffer_put(&kept, data, size);
    collect_keep_end(&kept);
    if (collector && !kept.failed) {
        if (collect_recall(collector, kept.bytes, kept.size, 1700000000000, NULL, NULL) != 0)
            abort();
        collect_keep_begin(&kept);
        collect_keep(collector, &kept);
        collect_keep_end(&kept);
    }
    collector_free(collector);
    buffer_deinit(&kept);
    buffer_deinit(&lines);
    return 0;
}
