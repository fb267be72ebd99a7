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

/* gaps of an epoch that follow one another are one; another reason, epoch or probe is another gap
 */
static void test_gaps(void **state) {
    (void)state;
    Group group;
    HubBatch batch = {.gap = true, .counts = {10, 20, 30}};
    assert_int_equal(group_init(&group, 16), 0);
    (void)snprintf(batch.key.z85, sizeof(batch.key.z85), "%040u", 1);
    for (batch.first = 1; batch.first < 1000; batch.first = batch.last + 1) {
        batch.last = batch.first + 2;
        assert_int_equal(group_miss(&group, &batch, GROUP_GAP_DROPPED), 0);
    }
    assert_int_equal(group.gap_n, 1);
    assert_int_equal(group.gaps[0].first, 1);
    assert_int_equal(group.gaps[0].last, 999);
    assert_int_equal(group.gaps[0].counts.octets, 333 * 30);
    assert_int_equal(group.cursors[0].missing.packets, 333 * 20);
    batch.last = batch.first;
    assert_int_equal(group_miss(&group, &batch, GROUP_GAP_CORRUPT), 0);
    batch.first = batch.last += 2; /* one was stored between */
    assert_int_equal(group_miss(&group, &batch, GROUP_GAP_CORRUPT), 0);
    batch.first = ++batch.last;
    batch.epoch.bytes[0] = 1;
    assert_int_equal(group_miss(&group, &batch, GROUP_GAP_CORRUPT), 0);
    batch.first = ++batch.last;
    batch.key.z85[0] = '1';
    assert_int_equal(group_miss(&group, &batch, GROUP_GAP_CORRUPT), 0);
    assert_int_equal(group.gap_n, 5);
    group_deinit(&group);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cursors), cmocka_unit_test(test_gaps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
