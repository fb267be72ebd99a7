/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A writer that is killed at any moment, again and again, in one folder: every batch whose append
 * returned is there for the next run, whole, once and in order.
 */

#include "spool/spool-scene.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/sanitized.h"

enum { ROUNDS = WEIR_SANITIZED ? 20 : 120 };

/* appends for ever and says each number once it is written */
static void write_for_ever(Scene *scene, uint64_t number, int ack_fd) {
    scene_open(scene);
    for (;; number++) {
        if (hash_u64(number, 5) % 40 == 0)
            spool_rotate(scene->spool, 0);
        if (hash_u64(number, 6) % 60 == 0)
            (void)spool_flush(scene->spool);
        append_sized(scene, 0, number, 4000);
        if (write(ack_fd, &number, sizeof(number)) != sizeof(number))
            _exit(1);
    }
}

/** run_and_kill() - the last number that was said */
static uint64_t run_and_kill(Scene *scene, uint64_t first, unsigned ms) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        write_for_ever(scene, first, ends[1]);
    }
    (void)close(ends[1]);
    uint64_t last = first - 1;
    uint64_t said = 0;
    struct pollfd wait = {.fd = ends[0], .events = POLLIN};
    uint64_t end_ms = clock_monotonic_ms() + ms;
    bool killed = false;
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        if (!killed && (now_ms >= end_ms || last - first + 1 > 300)) {
            assert_int_equal(kill(child, SIGKILL), 0);
            killed = true;
        }
        (void)poll(&wait, 1, killed ? -1 : (int)(end_ms - now_ms));
        if (!killed && !(wait.revents & (POLLIN | POLLHUP)))
            continue;
        if (wait.revents && read(ends[0], &said, sizeof(said)) != sizeof(said))
            break;
        last = said;
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(ends[0]);
    return last;
}

/* all that was said since the hub had everything, in order; the last one of each run may be there,
 * or have been cut, though it was not said */
static void check_all_there(Scene *scene, const uint64_t *said, size_t n) {
    static Found found;
    scene_open(scene);
    find_all(scene, 0, &found);
    size_t k = 0;
    size_t unsaid = 0;
    for (uint64_t i = 0; i < found.batches; i++) {
        if (i)
            assert_true(found.numbers[i] > found.numbers[i - 1]);
        if (k < n && found.numbers[i] == said[k])
            k++;
        else
            unsaid++;
    }
    assert_true(unsaid + found.missing <= 4);
    assert_int_equal(k, n);
}

static void test_killed(void **state) {
    (void)state;
    Scene scene;
    scene_make(&scene);
    const char *given = getenv("WEIR_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : clock_monotonic_ns();
    print_message("WEIR_SEED=%lu\n", (unsigned long)seed);
    static uint64_t said[4096];
    size_t n = 0;
    uint64_t number = 1;
    uint64_t total = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t last = run_and_kill(&scene, number, (unsigned)(2 + hash_u64(round, seed) % 60));
        total += last - number + 1;
        for (; number <= last; number++)
            said[n++] = number;
        number += 2; /* one may have been written and not said */
        check_all_there(&scene, said, n);
        if (round % 4 == 3) {
            release_all(&scene, 0);
            n = 0;
        }
        scene_close(&scene);
    }
    print_message("%lu batches in %d runs\n", (unsigned long)total, (int)ROUNDS);
    assert_true(total > ROUNDS);
    scene_remove(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
