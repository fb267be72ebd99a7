/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the spool costs: batches of a size appended while its thread commits every 200 ms, then read
 * back and released as a link does it.
 *
 *     bench-spool FOLDER [BYTES [MEGABYTES]]
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "spool/spool.h"

typedef struct Mark {
    uint64_t ns;
    double cpu_s;
} Mark;

static Mark mark_now(void) {
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (Mark){.ns = clock_monotonic_ns(),
                  .cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6};
}

static void tell(const char *what, Mark begun, double mb, size_t size) {
    Mark end = mark_now();
    double s = (double)(end.ns - begun.ns) / 1e9;
    (void)printf("%s of %zu bytes: %.0f MB/s, CPU ms/MB %.2f\n", what, size, mb / s,
                 (end.cpu_s - begun.cpu_s) * 1e3 / mb);
}

static int append_all(Spool *spool, uint8_t *bytes, size_t size, uint64_t n, SpoolBatch *last) {
    const BatchCounts counts = {350, 3500, 350000};
    int r = 0;
    for (uint64_t i = 0; i < n && !r; i++) {
        memcpy(bytes, &i, sizeof(i));
        r = spool_append(spool, 0, bytes, size, &counts, last);
    }
    return r ? r : spool_flush(spool);
}

static int read_all(Spool *spool, uint8_t *bytes, const SpoolBatch *last) {
    for (uint64_t at = 1; at <= last->first; at++) {
        SpoolBatch batch;
        if (spool_peek(spool, 0, &last->epoch, at, &batch) ||
            spool_fetch(spool, 0, &last->epoch, at, bytes, batch.bytes))
            return -1;
        if (at % 64 == 0 || at == last->first)
            spool_release(spool, 0, &last->epoch, at, &batch.totals);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench-spool FOLDER [BYTES [MEGABYTES]]\n");
        return 2;
    }
    size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 17000;
    double mb = argc > 3 ? strtod(argv[3], NULL) : 1000;
    uint64_t n = (uint64_t)(mb * 1e6 / (double)size);
    uint8_t *bytes = calloc(1, size < 8 ? 8 : size);
    Spool *spool = NULL;
    const SpoolConfig config = {.folder = argv[1],
                                .limit_bytes = UINT64_C(16) << 30,
                                .memory_bytes = 1 << 20,
                                .n_hubs = 1,
                                .hubs = {1}};
    (void)mkdir(argv[1], 0700);
    if (!bytes || spool_new(&spool, &config, NULL) != 0)
        return 1;
    SpoolBatch last = {0};
    Mark begun = mark_now();
    int r = append_all(spool, bytes, size, n, &last);
    tell("append and commit", begun, mb, size);
    begun = mark_now();
    if (!r)
        r = read_all(spool, bytes, &last);
    tell("read and release", begun, mb, size);
    spool_free(spool);
    free(bytes);
    return r ? 1 : 0;
}
