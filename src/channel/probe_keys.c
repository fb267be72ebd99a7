/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/probe_keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

enum { KEEP_AGAIN_MS = 5000 };

static void note(const ProbeKeys *keys, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** note() - a line for the log, about the hub */
static void note(const ProbeKeys *keys, const char *format, ...) {
    char text[1024];
    va_list args;
    if (!keys->on_note)
        return;
    const int n = snprintf(text, sizeof(text), "%s: ", keys->endpoint);
    va_start(args, format);
    (void)vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    keys->on_note(keys->userdata, text);
}

static void hold(ProbeKeys *keys) {
    const ServerKeys *kept = &keys->kept;
    keys->held.said = true;
    keys->held.trouble[0] = '\0';
    memcpy(keys->held.now, kept->version ? kept->now : keys->configured, sizeof(keys->held.now));
    memcpy(keys->held.next, kept->next, sizeof(keys->held.next));
}

void probe_keys_init(ProbeKeys *keys, const ProbeLinkConfig *config, uint64_t now_ms) {
    *keys = (ProbeKeys){
        .binds = {config->bind, config->bind && !config->events_endpoint},
        .keep = config->keep,
        .on_note = config->on_note,
        .userdata = config->userdata,
        .kept = config->kept,
    };
    (void)snprintf(keys->endpoint, sizeof(keys->endpoint), "%s", config->endpoint);
    (void)snprintf(keys->configured, sizeof(keys->configured), "%s", config->server_z85);
    if (keys->kept.version)
        hold(keys);
    probe_routes_set(&keys->routes, keys->configured, &keys->kept, config->bind, now_ms);
}

void probe_keys_deinit(ProbeKeys *keys) {
    buffer_deinit(&keys->hello);
}

bool probe_keys_handed(const ProbeKeys *keys) {
    return strcmp(keys->routes.current.server_z85, keys->configured) != 0;
}

/** say_kept() - what it means for a person */
static void say_kept(const ProbeKeys *keys, const ServerKeys *now) {
    const ServerKeys *before = &keys->kept;
    const char *was = before->version ? before->now : keys->configured;
    if (*now->next && strcmp(now->next, before->next) != 0)
        note(keys, "the hub has handed over its next key; it is kept, and used from the next "
                   "connection on");
    else if (strcmp(now->now, was) != 0)
        note(keys, "the hub has changed its key; the former one is not used any more");
    else if (!*now->next && *before->next)
        note(keys, "the hub has taken its next key back");
}

/** is_news() - it is not what the disk has, or the configuration */
static bool is_news(const ProbeKeys *keys, const ServerKeys *told) {
    return keys->kept.version ? !server_keys_same(told, &keys->kept)
                              : *told->next || strcmp(told->now, keys->configured) != 0;
}

bool probe_keys_told(ProbeKeys *keys, const ServerKeys *told, uint64_t now_ms) {
    if (!told->version || !keys->keep)
        return false;
    if (!is_news(keys, told)) {
        const bool first = !keys->held.said || *keys->held.trouble;
        hold(keys);
        return first;
    }
    if (keys->refused_ms && now_ms - keys->refused_ms < KEEP_AGAIN_MS)
        return false;
    if (!keys->keep(keys->userdata, told)) {
        const bool first = !*keys->held.trouble;
        keys->refused_ms = now_ms;
        hold(keys);
        (void)snprintf(keys->held.trouble, sizeof(keys->held.trouble),
                       "it cannot write the key to its data directory");
        return first;
    }
    say_kept(keys, told);
    keys->refused_ms = 0;
    keys->kept = *told;
    probe_routes_set(&keys->routes, keys->configured, told, keys->binds[PROBE_SIDE_DATA], now_ms);
    hold(keys);
    return true;
}

const char *probe_keys_hello(ProbeKeys *keys, const char *hello) {
    memcpy(keys->held.uses, keys->routes.current.server_z85, sizeof(keys->held.uses));
    buffer_clear(&keys->hello);
    server_keys_hello(&keys->hello, hello, &keys->held);
    return keys->hello.failed ? NULL : buffer_text(&keys->hello);
}

/** say_reached() - while a change is under way, by which key it came to be */
static void say_reached(const ProbeKeys *keys) {
    const ServerKeys *kept = &keys->kept;
    if (!kept->version || !*kept->next)
        return;
    if (strcmp(keys->routes.current.server_z85, kept->next) == 0)
        note(keys, "connected with the key that the hub has handed over");
    else if (keys->tried_ports[PROBE_SIDE_DATA])
        note(keys,
             "connected with the hub's present key, for with its next one it does not answer on "
             "ports %u and %u%s%s",
             keys->tried_ports[PROBE_SIDE_DATA], keys->tried_ports[PROBE_SIDE_EVENTS],
             *keys->trouble ? ": " : "", keys->trouble);
}

bool probe_keys_step(ProbeKeys *keys, ProbeLines *lines, const char *reason, uint64_t now_ms) {
    ProbeView views[PROBE_N_SIDES];
    for (int i = 0; i < PROBE_N_SIDES; i++)
        probe_lines_view(lines, (ProbeSide)i, &views[i]);
    const bool first = !probe_routes_trying(&keys->routes, views);
    const bool had_been_good = keys->routes.was_good;
    const bool step = probe_routes_step(&keys->routes, views, now_ms);
    const bool good = keys->routes.was_good;
    if (good && !keys->was_good)
        say_reached(keys);
    if (step && first) { /* it did not do: why is told when another one does */
        (void)snprintf(keys->trouble, sizeof(keys->trouble), "%s", had_been_good ? "" : reason);
        keys->tried_ports[PROBE_SIDE_DATA] = keys->kept.data_port;
        keys->tried_ports[PROBE_SIDE_EVENTS] = keys->kept.events_port;
    }
    keys->was_good = good;
    return step;
}

Endpoint probe_keys_place(const ProbeKeys *keys, const Endpoint configured[PROBE_N_SIDES],
                          int side) {
    const ProbeRoute *route = &keys->routes.current;
    const uint16_t port = side == PROBE_SIDE_DATA ? route->data_port : route->events_port;
    Endpoint endpoint = configured[side];
    if (port)
        endpoint.port = port;
    return endpoint;
}

int probe_keys_go(const ProbeKeys *keys, ProbeLines *lines,
                  const Endpoint configured[PROBE_N_SIDES]) {
    int r = 0;
    for (int i = 0; i < PROBE_N_SIDES && !r; i++) {
        const Endpoint endpoint = probe_keys_place(keys, configured, i);
        r = probe_lines_move(lines, (ProbeSide)i, keys->routes.current.server_z85, &endpoint);
    }
    return error_trace(r);
}
