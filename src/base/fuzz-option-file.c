/* SPDX-License-Identifier: Apache-2.0 */

/* A config file of any content is read or refused with a reason, by the same way a program takes.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/option-example.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(closep) int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    char name[] = "weir-example";
    char *argv[] = {name, path, NULL};

    Example config;
    Reason reason = {""};
    cleanup(option_set_freep) OptionSet *set = NULL;
    int r = option_read(&set, &example_program, &config, 2, argv, stdout, &reason);
    if (r != 0 && (r != OPTION_E_USAGE || !reason.text[0]))
        abort(); /* a refusal has its reason, nothing else may happen */
    if (r == 0 && (config.idle_s < 1 || config.idle_s > 3600))
        abort();
    return 0;
}
