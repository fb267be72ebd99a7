/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Fuzz Replay
 *
 * Stands in for libFuzzer where it is not built in: runs a fuzz target over every file of the
 * folders and files named, so that each corpus is an ordinary test.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    static uint8_t bytes[1 << 20];
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);

    /* an exact copy on the heap, so that a sanitizer sees a read past the end */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return -1;
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

static int replay(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        return replay_file(path) < 0 ? -1 : 1;

    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    int n = 0;
    for (const struct dirent *entry = readdir(dir); entry && n >= 0; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        char inner[4096];
        (void)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        n = replay_file(inner) < 0 ? -1 : n + 1;
    }
    (void)closedir(dir);
    return n;
}

int main(int argc, char **argv) {
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        if (n < 0) {
            (void)fprintf(stderr, "cannot read %s\n", argv[i]);
            return 1;
        }
        total += n;
    }
    (void)printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}
