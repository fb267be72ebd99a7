/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/kept_lease.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"

enum { SAVE_STEP_S = 600, FILE_BYTES_MAX = 256 };

void kept_lease_hear(KeptLease *kept, const LeaseWord *word, int64_t now_s) {
    if (word->over)
        kept->left_s = 0;
    if (word->over || !word->lease.until_s || word->told_ms == kept->told_ms)
        return;
    kept->told_ms = word->told_ms;
    kept->until_s = now_s + LEASE_S;
    kept->left_s = LEASE_S;
    (void)snprintf(kept->licence, sizeof(kept->licence), "%s", word->lease.licence);
}

void kept_lease_pass(KeptLease *kept, int64_t now_s, int64_t passed_s) {
    int64_t left_s = kept->left_s - (passed_s > 0 ? passed_s : 0);
    if (kept->until_s - now_s < left_s)
        left_s = kept->until_s - now_s;
    kept->left_s = left_s > 0 ? left_s : 0;
}

static void path_of(char path[PATH_MAX], const char *folder) {
    (void)snprintf(path, PATH_MAX, "%s/" KEPT_LEASE_FILE, folder);
}

/* "until left licence" */
static bool read_line(KeptLease *kept, const char *line) {
    char *at = NULL;
    char *end = NULL;
    kept->until_s = strtoll(line, &at, 10);
    if (at == line || *at != ' ')
        return false;
    kept->left_s = strtoll(at, &end, 10);
    if (end == at || *end != ' ')
        return false;
    const size_t length = strcspn(end + 1, " \n");
    if (length == 0 || length >= sizeof(kept->licence))
        return false;
    memcpy(kept->licence, end + 1, length);
    kept->licence[length] = '\0';
    return true;
}

void kept_lease_load(KeptLease *kept, const char *folder, int64_t now_s) {
    char path[PATH_MAX];
    KeptLease read = {0};
    cleanup(buffer_deinit) Buffer text = {0};
    *kept = (KeptLease){0};
    path_of(path, folder);
    if (file_read(&text, path, FILE_BYTES_MAX, NULL) != 0 || !read_line(&read, buffer_text(&text)))
        return;
    if (read.left_s > LEASE_S)
        read.left_s = LEASE_S;
    *kept = read;
    kept->saved_s = kept->left_s;
    kept->saved_until_s = kept->until_s;
    kept_lease_pass(kept, now_s, 0);
}

/* both: while a hub renews it, what is left stays as it is, and when it ends moves on */
static bool is_due(const KeptLease *kept) {
    const int64_t apart_s = kept->left_s - kept->saved_s;
    const int64_t moved_s = kept->until_s - kept->saved_until_s;
    const bool over = kept->saved_s && !kept->left_s;
    return over || apart_s >= SAVE_STEP_S || apart_s <= -SAVE_STEP_S || moved_s >= SAVE_STEP_S ||
           moved_s <= -SAVE_STEP_S;
}

bool kept_lease_save(KeptLease *kept, const char *folder, Reason *reason) {
    char path[PATH_MAX];
    char text[FILE_BYTES_MAX];
    if (!is_due(kept))
        return true;
    path_of(path, folder);
    const int n = snprintf(text, sizeof(text), "%" PRId64 " %" PRId64 " %s\n", kept->until_s,
                           kept->left_s, *kept->licence ? kept->licence : "-");
    if (file_write(path, text, (size_t)n, 0600, reason))
        return false;
    kept->saved_s = kept->left_s;
    kept->saved_until_s = kept->until_s;
    return true;
}
