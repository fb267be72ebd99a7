/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/hub-inside.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "http/tls.h"
#include "hub/api.h"

enum {
    CERTIFICATE_DAYS = 3650,
    CERTIFICATE_BYTES_MAX = 256 << 10,
};

static bool take_web_dir(Hub *hub, const char *format, const char *folder) {
    char path[PATH_MAX + 64];
    struct stat status;
    (void)snprintf(hub->web_dir, sizeof(hub->web_dir), format, folder);
    (void)snprintf(path, sizeof(path), "%s/index.html", hub->web_dir);
    if (stat(path, &status) == 0)
        return true;
    *hub->web_dir = 0;
    return false;
}

/* as given, else installed beside the program, else in the source tree above build/ */
static int find_web_dir(Hub *hub, Reason *reason) {
    const char *given = hub->config->web_dir;
    if (given && !take_web_dir(hub, "%s", given)) {
        reason_set(reason, "--web-dir %s: there is no index.html in it", given);
        return HUB_E_USAGE;
    }
    char self[PATH_MAX];
    const ssize_t n = given ? -1 : readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return 0;
    self[n] = 0;
    const char *folder = dirname(self);
    if (!take_web_dir(hub, "%s/../share/weir/web", folder) &&
        !take_web_dir(hub, "%s/../web/dist", folder))
        log_notice("the browser application is not installed; only the API is served");
    return 0;
}

static int read_pem(Buffer *to, const char *path, Reason *reason) {
    return hub_refused(file_read(to, path, CERTIFICATE_BYTES_MAX, reason), HUB_E_REFUSED, reason);
}

/* --tls-cert and --tls-key, else a pair made once and kept in the data directory */
static int load_certificate(Hub *hub, Buffer *certificate, Buffer *key, Reason *reason) {
    const HubConfig *config = hub->config;
    char certificate_path[PATH_MAX];
    char key_path[PATH_MAX];
    (void)snprintf(certificate_path, sizeof(certificate_path), "%s/tls.crt", config->data_dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/tls.key", config->data_dir);
    int r = 0;
    if (!config->tls_cert && access(certificate_path, F_OK) != 0) {
        char host[256] = "";
        (void)gethostname(host, sizeof(host) - 1);
        const char *const names[] = {config->public_address ? config->public_address : "localhost",
                                     host, "localhost", "127.0.0.1"};
        Buffer made = {0};
        Buffer made_key = {0};
        r = http_tls_self_signed(&made, &made_key, names, 4, (uint64_t)time(NULL),
                                 CERTIFICATE_DAYS);
        if (!r)
            r = file_write(key_path, made_key.bytes, made_key.size, 0600, reason);
        if (!r)
            r = file_write(certificate_path, made.bytes, made.size, 0644, reason);
        buffer_deinit(&made);
        buffer_deinit(&made_key);
        if (r)
            return hub_refused(r, HUB_E_REFUSED, reason);
    }
    const char *paths[] = {config->tls_cert ? config->tls_cert : certificate_path,
                           config->tls_key ? config->tls_key : key_path};
    r = read_pem(certificate, paths[0], reason);
    if (!r)
        r = read_pem(key, paths[1], reason);
    if (r)
        return r;
    r = http_tls_check(buffer_text(certificate), buffer_text(key), reason);
    if (r > 0)
        reason_append(reason, " (%s and %s)", paths[0], paths[1]);
    return hub_refused(r, HUB_E_REFUSED, reason);
}

static int listen_https(Hub *hub, Reason *reason) {
    Buffer certificate = {0};
    Buffer key = {0};
    int r = load_certificate(hub, &certificate, &key, reason);
    if (!r) {
        const HttpListen listen = {.address = hub->https_listen.address,
                                   .port = hub->https_listen.port,
                                   .certificate_pem = buffer_text(&certificate),
                                   .key_pem = buffer_text(&key)};
        r = hub_refused(http_server_listen(hub->http, &listen, &hub->https_port, reason),
                        HUB_E_REFUSED, reason);
    }
    buffer_deinit(&certificate);
    buffer_deinit(&key);
    return r;
}

int hub_open_http(Hub *hub, Reason *reason) {
    int r = find_web_dir(hub, reason);
    if (r)
        return r;
    size_t n_routes = 0;
    r = api_table(&hub->routes, &n_routes);
    if (r)
        return error_trace(r);
    const HttpConfig config = {.routes = hub->routes,
                               .n_routes = n_routes,
                               .guard = auth_guard,
                               .context = hub,
                               .static_dir = *hub->web_dir ? hub->web_dir : NULL};
    r = hub_refused(http_server_new(&hub->http, &config, reason), HUB_E_REFUSED, reason);
    if (!r && hub->http_listen.port) {
        const HttpListen listen = {.address = hub->http_listen.address,
                                   .port = hub->http_listen.port};
        r = hub_refused(http_server_listen(hub->http, &listen, &hub->http_port, reason),
                        HUB_E_REFUSED, reason);
    }
    if (!r && hub->https_listen.port)
        r = listen_https(hub, reason);
    return r;
}
