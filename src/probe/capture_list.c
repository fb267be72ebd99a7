/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/capture_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int add(CaptureList *list, char *name) {
    char **names = name ? realloc(list->names, (list->n + 1) * sizeof(*names)) : NULL;
    if (!names) {
        free(name);
        return error_origin(-ENOMEM);
    }
    list->names = names;
    list->names[list->n++] = name;
    return 0;
}

int capture_list_add(CaptureList *list, const char *name) {
    return add(list, strdup(name));
}

/* beside the list, or as it is */
static int add_line(CaptureList *list, const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    char *whole = NULL;
    if (*name == '/' || !slash)
        return capture_list_add(list, name);
    if (asprintf(&whole, "%.*s%s", (int)(slash + 1 - path), path, name) < 0)
        whole = NULL;
    return add(list, whole);
}

static char *trim(char *line) {
    line += strspn(line, " \t");
    size_t n = strlen(line);
    while (n && strchr(" \t\r\n", line[n - 1]))
        line[--n] = '\0';
    return line;
}

int capture_list_read(CaptureList *list, const char *path, Reason *reason) {
    cleanup(fclosep) FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    const size_t before = list->n;
    int r = 0;
    if (!file) {
        reason_set(reason, "--pcap-file-list %s: %s", path, strerror(errno));
        return CAPTURE_LIST_E_REFUSED;
    }
    while (r == 0 && getline(&line, &room, file) >= 0) {
        const char *name = trim(line);
        if (*name && *name != '#')
            r = add_line(list, path, name);
    }
    free(line);
    if (r)
        return error_trace(r);
    if (ferror(file) || list->n == before) {
        reason_set(reason, "--pcap-file-list %s %s", path,
                   ferror(file) ? "cannot be read" : "names no file");
        return CAPTURE_LIST_E_REFUSED;
    }
    return 0;
}

void capture_list_deinit(CaptureList *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->names[i]);
    free(list->names);
    *list = (CaptureList){.names = NULL};
}
