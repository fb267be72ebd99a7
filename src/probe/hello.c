/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/hello.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

static void host_name(char *text, size_t size) {
    if (gethostname(text, size) != 0 || !*text)
        (void)snprintf(text, size, "weir-probe");
    text[size - 1] = 0;
}

/* the same after a reinstallation of weir, another on another machine */
static void default_id(const char *host, char *text, size_t size) {
    Buffer machine = {0};
    if (file_read(&machine, "/etc/machine-id", 256, NULL) != 0)
        buffer_clear(&machine);
    (void)snprintf(text, size, "%s-%08" PRIx32, host,
                   (uint32_t)hash_bytes(machine.bytes, machine.size, 0));
    buffer_deinit(&machine);
}

/* a virtual machine that went back to a snapshot may draw the same number again: so the time, too
 */
void hello_draw_instance(char text[HELLO_INSTANCE_DIGITS + 1]) {
    uint64_t run = 0;
    const uint64_t now[] = {clock_wall_ms(), clock_monotonic_ns()};
    (void)getrandom(&run, sizeof(run), 0);
    (void)snprintf(text, HELLO_INSTANCE_DIGITS + 1, "%016" PRIx64,
                   run ^ hash_bytes(now, sizeof(now), 1));
}

int hello_write(Buffer *hello, const ProbeConfig *config, const DeliverSource *source,
                const HelloWords *words) {
    char host[256];
    char id[300];
    host_name(host, sizeof(host));
    default_id(host, id, sizeof(id));

    Json json = json_make(hello);
    json_object_begin(&json, NULL);
    json_text(&json, "name", config->probe_name ? config->probe_name : host);
    json_text(&json, "probe_id", config->probe_id ? config->probe_id : id);
    json_text(&json, "version", WEIR_VERSION);
    json_text(&json, "instance", words->instance);
    json_text(&json, "mode", source->mode);
    json_array_begin(&json, "interfaces");
    json_object_begin(&json, NULL);
    json_text(&json, "name", source->interface);
    json_u64(&json, "index", source->index);
    json_object_end(&json);
    json_array_end(&json);
    if (*words->token)
        json_text(&json, "token", words->token);
    if (*words->licence) {
        json_text(&json, "licence", words->licence);
        json_text(&json, "system_id", words->system_id);
    }
    json_object_end(&json);
    return hello->failed ? error_origin(-ENOMEM) : 0;
}
