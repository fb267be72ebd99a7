/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/group.h"

/* thousands of (probe, epoch) in one group, each ending at its newest batch; then all anew */
static void test_cursors(void **state) {
    (void)state;
    enum { PROBES = 1500, EPOCHS = 2, ROUNDS = 3 };
    Group group;
    assert_int_equal(group_init(&group, 16), 0);
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < PROBES * EPOCHS * ROUNDS; i++) {
            HubBatch batch = {.last = i / (PROBES * EPOCHS) + 1, .received_ms = i};
            (void)snprintf(batch.key.z85, sizeof(batch.key.z85), "%040u", i % PROBES);
            batch.epoch.bytes[3] = (uint8_t)(i / PROBES % EPOCHS);
            batch.totals.flows = batch.last * 10;
            assert_int_equal(group_cover(&group, &batch, 10), 0);
        }
        assert_int_equal(group.n, PROBES * EPOCHS);
        for (size_t i = 0; i < group.n; i++) {
            assert_int_equal(group.cursors[i].cursor.sequence, ROUNDS);
            assert_int_equal(group.cursors[i].cursor.totals.flows, ROUNDS * 10);
            assert_int_equal(group.cursors[i].flows, ROUNDS * 10);
        }
        group_clear(&group);
        assert_int_equal(group.n, 0);
    }
    group_deinit(&group);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cursors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
