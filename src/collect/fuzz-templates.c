/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: datagrams of one exporter, each with its size (2 bytes) before it: templates defined,
 * defined otherwise, withdrawn, and data before and after them. Little room for what waits, so
 * that it is let go as well.
 */

#include "base/cursor.h"
#include "collect/fuzz-inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Buffer buffer = {0};
    Collector *collector = fuzz_collector(&buffer, 1000);
    Cursor c = cursor_make(data, size);
    uint64_t now_ms = 1700000000000;
    while (collector && cursor_left(&c) >= 2) {
        size_t n = cursor_u16(&c);
        n = n < cursor_left(&c) ? n : cursor_left(&c);
        fuzz_take(collector, cursor_take(&c, n), n, now_ms);
        now_ms += 300;
        collector_tick(collector, now_ms);
    }
    collector_free(collector);
    buffer_deinit(&buffer);
    return 0;
}
