/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Input: a file of --ndpi-custom-protos. What is taken has a line for each line, and nDPI, to which
 * it is given, must live.
 */

#include <ndpi_main.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe/custom_protos.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void load(const uint8_t *data, size_t size) {
    char path[32];
    Reason reason;
    const int fd = memfd_create("protos", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct ndpi_detection_module_struct *module = ndpi_init_detection_module(ndpi_no_prefs);
    if (!module)
        abort();
    if (custom_protos_load(module, path, &reason) < 0)
        abort();
    ndpi_finalize_initialization(module);
    ndpi_exit_detection_module(module);
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Buffer rules = {0};
    Reason reason;
    size_t lines = 0;
    size_t given = 0;
    const int r = custom_protos_check(&rules, (const char *)data, size, &reason);
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || i == size - 1;
    for (size_t i = 0; i < rules.size; i++) {
        given += rules.bytes[i] == '\n';
        if (rules.bytes[i] == '\0')
            abort();
    }
    if (r == 0 && given != lines)
        abort();
    if (r == 0 && size && size < 4096)
        load(data, size);
    buffer_deinit(&rules);
    return 0;
}
