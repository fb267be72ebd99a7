/* SPDX-License-Identifier: Apache-2.0 */

#include "http/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <microhttpd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"

enum {
    FILES_MAX = 10000,
    DEPTH_MAX = 16,
    PATH_BYTES_MAX = 1024,
};
static const size_t total_bytes_max = (size_t)64 << 20;

/* What the application needs and no more: nothing inline, no other host. */
static const char content_security_policy[] =
    "default-src 'self'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

typedef struct File {
    char *path; /* "/assets/index-BZ2x.js" */
    Buffer bytes;
    char etag[20];
    struct MHD_Response *whole;     /* 200 */
    struct MHD_Response *unchanged; /* 304 */
} File;

struct HttpFiles {
    File *files; /* sorted by path */
    size_t n;
    size_t bytes;
};

/* types */

typedef struct FileType {
    const char *ending;
    const char *type;
} FileType;

static const FileType file_types[] = {
    {".css", "text/css; charset=utf-8"},
    {".html", "text/html; charset=utf-8"},
    {".ico", "image/x-icon"},
    {".jpg", "image/jpeg"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".mjs", "text/javascript; charset=utf-8"},
    {".pdf", "application/pdf"},
    {".png", "image/png"},
    {".svg", "image/svg+xml"},
    {".txt", "text/plain; charset=utf-8"},
    {".wasm", "application/wasm"},
    {".webmanifest", "application/manifest+json"},
    {".webp", "image/webp"},
    {".woff", "font/woff"},
    {".woff2", "font/woff2"},
    {".xml", "application/xml"},
};

static bool ends_with(const char *text, const char *ending) {
    size_t size = strlen(text);
    size_t ending_size = strlen(ending);
    return size > ending_size && strcmp(text + size - ending_size, ending) == 0;
}

static const char *type_of(const char *path) {
    for (size_t i = 0; i < sizeof(file_types) / sizeof(file_types[0]); i++)
        if (ends_with(path, file_types[i].ending))
            return file_types[i].type;
    return "application/octet-stream";
}

/* reading the folder */

static int file_load(HttpFiles *files, int folder_fd, const char *name, const char *path,
                     Reason *reason) {
    cleanup(closep) int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        reason_set(reason, "cannot read the web file %s: %s", path, strerror(errno));
        return HTTP_FILES_E_REFUSED;
    }
    File *grown = realloc(files->files, (files->n + 1) * sizeof(*grown));
    if (!grown)
        return error_origin(-ENOMEM);
    files->files = grown;
    File *file = &files->files[files->n];
    *file = (File){.path = strdup(path)};
    if (!file->path)
        return error_origin(-ENOMEM);
    files->n++;

    ssize_t n = 1;
    while (n > 0) {
        uint8_t *room = buffer_reserve(&file->bytes, 65536);
        if (!room || files->bytes + file->bytes.size > total_bytes_max) {
            reason_set(reason, "the web folder is too large (%s)", path);
            return HTTP_FILES_E_REFUSED;
        }
        n = read(fd, room, 65536);
        file->bytes.size += n > 0 ? (size_t)n : 0;
    }
    files->bytes += file->bytes.size;
    if (n == 0)
        return 0;
    reason_set(reason, "cannot read the web file %s: %s", path, strerror(errno));
    return HTTP_FILES_E_REFUSED;
}

static int folder_load(HttpFiles *files, int fd, const char *path, int depth, Reason *reason);

static int entry_load(HttpFiles *files, int fd, const char *name, const char *path, int depth,
                      Reason *reason) {
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* gone meanwhile */
    if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
        int inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return inner < 0 ? 0 : folder_load(files, inner, path, depth + 1, reason);
    }
    if (!S_ISREG(st.st_mode))
        return 0; /* links and devices are not served */
    if (files->n == FILES_MAX) {
        reason_set(reason, "the web folder holds more than %d files", FILES_MAX);
        return HTTP_FILES_E_REFUSED;
    }
    return file_load(files, fd, name, path, reason);
}

/** folder_load() - all below fd, which it closes */
static int folder_load(HttpFiles *files, int fd, const char *path, int depth, Reason *reason) {
    DIR *dir = fdopendir(fd);
    if (!dir) {
        (void)close(fd);
        return error_origin(-ENOMEM);
    }
    int r = 0;
    for (const struct dirent *entry = readdir(dir); entry && r == 0; entry = readdir(dir)) {
        char inner[PATH_BYTES_MAX];
        if (entry->d_name[0] == '.')
            continue; /* hidden files are not served */
        int n = snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (n > 0 && (size_t)n < sizeof(inner))
            r = entry_load(files, dirfd(dir), entry->d_name, inner, depth, reason);
    }
    (void)closedir(dir);
    return r;
}

/* responses */

static int compare_files(const void *a, const void *b) {
    return strcmp(((const File *)a)->path, ((const File *)b)->path);
}

static const File *find(const HttpFiles *files, const char *path) {
    const File key = {.path = (char *)(uintptr_t)path};
    return bsearch(&key, files->files, files->n, sizeof(key), compare_files);
}

static struct MHD_Response *response_make(const File *file, const char *path, bool gzip,
                                          bool has_gzip, bool whole) {
    struct MHD_Response *response = MHD_create_response_from_buffer(
        whole ? file->bytes.size : 0, whole && file->bytes.size ? file->bytes.bytes : (void *)"",
        MHD_RESPMEM_PERSISTENT);
    if (!response)
        return NULL;
    /* the bundler puts a hash of the content into every name below /assets */
    bool hashed = strncmp(path, "/assets/", 8) == 0;
    const struct {
        const char *name, *value;
    } headers[] = {
        {"ETag", file->etag},
        {"Cache-Control", hashed ? "public, max-age=31536000, immutable" : "no-cache"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Content-Security-Policy", content_security_policy},
        {"Content-Type", whole ? type_of(path) : NULL},
        {"Content-Encoding", whole && gzip ? "gzip" : NULL},
        {"Vary", has_gzip ? "Accept-Encoding" : NULL},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        if (headers[i].value)
            (void)MHD_add_response_header(response, headers[i].name, headers[i].value);
    return response;
}

static int responses_make(HttpFiles *files) {
    for (size_t i = 0; i < files->n; i++) {
        File *file = &files->files[i];
        char plain[PATH_BYTES_MAX];
        char packed[PATH_BYTES_MAX + 4];
        (void)snprintf(plain, sizeof(plain), "%s", file->path);
        bool gzip = ends_with(plain, ".gz");
        if (gzip)
            plain[strlen(plain) - 3] = 0;
        (void)snprintf(packed, sizeof(packed), "%s.gz", plain);
        gzip = gzip && find(files, plain); /* else it is an archive of its own */
        if (!gzip)
            (void)snprintf(plain, sizeof(plain), "%s", file->path);
        bool has_gzip = gzip || find(files, packed);
        (void)snprintf(file->etag, sizeof(file->etag), "\"%016" PRIx64 "\"",
                       hash_bytes(file->bytes.bytes ? (const void *)file->bytes.bytes : "",
                                  file->bytes.size, gzip));
        file->whole = response_make(file, plain, gzip, has_gzip, true);
        file->unchanged = response_make(file, plain, gzip, has_gzip, false);
        if (!file->whole || !file->unchanged)
            return error_origin(-ENOMEM);
    }
    return 0;
}

int http_files_new(HttpFiles **filesp, const char *folder, Reason *reason) {
    cleanup(http_files_freep) HttpFiles *files = calloc(1, sizeof(*files));
    if (!files)
        return error_origin(-ENOMEM);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        reason_set(reason, "cannot open the web folder %s: %s", folder, strerror(errno));
        return HTTP_FILES_E_REFUSED;
    }
    int r = folder_load(files, fd, "", 0, reason);
    if (r)
        return error_trace(r);
    if (files->n)
        qsort(files->files, files->n, sizeof(*files->files), compare_files);
    if (!files->n || !find(files, "/index.html")) {
        reason_set(reason, "the web folder %s has no index.html", folder);
        return HTTP_FILES_E_REFUSED;
    }
    r = responses_make(files);
    if (r)
        return error_trace(r);
    *filesp = files;
    files = NULL;
    return 0;
}

HttpFiles *http_files_free(HttpFiles *files) {
    if (!files)
        return NULL;
    for (size_t i = 0; i < files->n; i++) {
        File *file = &files->files[i];
        if (file->whole)
            MHD_destroy_response(file->whole);
        if (file->unchanged)
            MHD_destroy_response(file->unchanged);
        buffer_deinit(&file->bytes);
        free(file->path);
    }
    free(files->files);
    free(files);
    return NULL;
}

/* serving */

/** accepts_gzip() - RFC 9110 section 12.5.3, "gzip;q=0" refuses */
static bool accepts_gzip(const char *header) {
    for (const char *at = header; at && *at;) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ",");
        if (strncasecmp(at, "gzip", 4) == 0 && strchr(",; \t", at[4])) {
            const char *q = memmem(at, size, "q=", 2);
            return !q || strtod(q + 2, NULL) > 0;
        }
        at += size;
    }
    return false;
}

static bool etag_matches(const char *header, const char *etag) {
    return header && (strcmp(header, "*") == 0 || strstr(header, etag));
}

struct MHD_Response *http_files_find(const HttpFiles *files, const char *path,
                                     const char *accept_encoding, const char *if_none_match,
                                     unsigned *statusp) {
    const File *file = strcmp(path, "/") == 0 ? NULL : find(files, path);
    if (!file) {
        /* an asset of an older version is gone; any other path is the application's own */
        if (path[0] != '/' || strncmp(path, "/assets/", 8) == 0)
            return NULL;
        path = "/index.html";
        file = find(files, path);
    }
    if (file && accepts_gzip(accept_encoding)) {
        char packed[PATH_BYTES_MAX + 4];
        (void)snprintf(packed, sizeof(packed), "%s.gz", path);
        const File *smaller = find(files, packed);
        file = smaller ? smaller : file;
    }
    if (!file)
        return NULL;
    bool unchanged = etag_matches(if_none_match, file->etag);
    *statusp = unchanged ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK;
    return unchanged ? file->unchanged : file->whole;
}
