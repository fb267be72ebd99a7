/* SPDX-License-Identifier: Apache-2.0 */

#include "collect/collect.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#define NOW  UINT64_C(1700000000000)
#define TURN (UINT64_C(1) << 32)

typedef struct Row {
    const char *what;
    uint64_t first, last, event, export;
    bool of_uptime;
    bool mended;
    uint64_t then_first, then_last;
} Row;

static const Row rows[] = {
    {"as it should be", NOW - 9000, NOW - 1000, 0, NOW, true, false, NOW - 9000, NOW - 1000},
    {"uptime of the start is one turn ahead", NOW - 9000 + TURN, NOW - 1000, 0, NOW, true, true,
     NOW - 9000, NOW - 1000},
    {"both", NOW - 9000 + TURN, NOW - 1000 + TURN, 0, NOW, true, true, NOW - 9000, NOW - 1000},
    {"up for three turns, its start told once", NOW - 9000 - 3 * TURN, NOW - 1000 - 3 * TURN, 0,
     NOW, true, true, NOW - 9000, NOW - 1000},
    {"a day ahead, and the clock is right", NOW - 9000 + 86400000, NOW + 86400000, 0, NOW, false,
     true, NOW - 9000, NOW},
    {"half an hour ahead stays", NOW - 9000 + 1800000, NOW + 1800000, 0, NOW, false, false,
     NOW - 9000 + 1800000, NOW + 1800000},
    {"of 1970, and the clock is right", 5000, 9000, 0, NOW, false, true, NOW - 4000, NOW},
    {"a week old stays", NOW - 604800000 - 9000, NOW - 604800000, 0, NOW, false, false,
     NOW - 604800000 - 9000, NOW - 604800000},
    {"no end", NOW - 9000, 0, 0, NOW, false, true, NOW - 9000, NOW},
    {"only an event", 0, 0, NOW - 500, NOW, false, true, NOW - 500, NOW - 500},
    {"nothing", 0, 0, 0, NOW, false, true, NOW, NOW},
    {"nothing, and no export time", 0, 0, 0, 0, false, true, NOW, NOW},
    {"end before its start", NOW - 1000, NOW - 9000, 0, NOW, false, true, NOW - 9000, NOW - 9000},
    {"a clock of 1970", 5000, 9000, 0, 10000, false, true, NOW - 5000, NOW - 1000},
    {"a clock of next year", NOW + 31536000000 - 5000, NOW + 31536000000 - 1000, 0,
     NOW + 31536000000, true, true, NOW - 5000, NOW - 1000},
    {"a clock half an hour late", NOW - 1800000 - 5000, NOW - 1800000 - 1000, 0, NOW - 1800000,
     false, false, NOW - 1800000 - 5000, NOW - 1800000 - 1000},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const Row *row = &rows[i];
        CollectRecord record = {.flow = {.first_ms = row->first, .last_ms = row->last},
                                .event_ms = row->event,
                                .export_ms = row->export,
                                .received_ms = NOW,
                                .of_uptime = row->of_uptime};
        const bool mended = collect_mend_times(&record);
        if (mended != row->mended || record.flow.first_ms != row->then_first ||
            record.flow.last_ms != row->then_last || record.flow.times_mended != mended)
            fail_msg("%s: %d, %lld and %lld ms from now", row->what, mended,
                     (long long)(record.flow.first_ms - NOW),
                     (long long)(record.flow.last_ms - NOW));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
