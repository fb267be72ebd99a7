/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A writer that is killed at any moment, again and again, in one folder. When few batches come,
 * every one whose append returned is there for the next run; when many do, every one up to the last
 * commit or change of epoch. Whole, once and in order.
 */

#include "spool/spool-scene.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/sanitized.h"

enum { ROUNDS = WEIR_SANITIZED ? 20 : 120, FEW_US = 20000 };

/* appends for ever and says each number once it is written */
static void write_few(Scene *scene, uint64_t number, int ack_fd) {
    scene_open(scene);
    for (;; number++) {
        if (hash_u64(number, 5) % 40 == 0)
            spool_rotate(scene->spool, 0);
        append_sized(scene, 0, number, 4000);
        if (write(ack_fd, &number, sizeof(number)) != sizeof(number))
            _exit(1);
        (void)usleep(FEW_US);
    }
}

/* likewise, and says a number once it was committed, or another epoch has begun, which is seldom */
static void write_many(Scene *scene, uint64_t number, int ack_fd) {
    scene_open(scene);
    scene->spool->gather = true; /* as after the first commit */
    for (;; number++) {
        append_sized(scene, 0, number, 4000);
        const bool rotate = hash_u64(number, 5) % 40 == 0;
        if (rotate)
            spool_rotate(scene->spool, 0);
        else if (hash_u64(number, 6) % 60 == 0)
            (void)spool_flush(scene->spool);
        else
            continue;
        if (write(ack_fd, &number, sizeof(number)) != sizeof(number))
            _exit(1);
    }
}

/** run_and_kill() - the last number that was said */
static uint64_t run_and_kill(Scene *scene, uint64_t first, unsigned ms, bool many) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        (many ? write_many : write_few)(scene, first, ends[1]);
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
 * or have been cut, though it was not said, and when many came more of them may be there */
static void check_all_there(Scene *scene, const uint64_t *said, size_t n, bool many) {
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
    assert_true(found.missing <= 4 && (many || unsaid + found.missing <= 4));
    assert_int_equal(k, n);
}

static void kill_often(bool many) {
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
        const unsigned ms = (unsigned)(2 + hash_u64(round, seed) % (many ? 60 : 200));
        uint64_t last = run_and_kill(&scene, number, ms, many);
        total += last - number + 1;
        for (; number <= last; number++)
            said[n++] = number;
        number += many ? 1000 : 2; /* one may have been written and not said, or several */
        check_all_there(&scene, said, n, many);
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

static void test_few_killed(void **state) {
    (void)state;
    kill_often(false);
}

static void test_many_killed(void **state) {
    (void)state;
    kill_often(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_few_killed),
                                       cmocka_unit_test(test_many_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
