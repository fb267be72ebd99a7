/* SPDX-License-Identifier: Apache-2.0 */

#include "channel/server_keys.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "channel/keys.h"

#define HELLO_MEMBER "server_keys"

void server_keys_write(Json *json, const char *name, const ServerKeys *keys) {
    json_object_begin(json, name);
    json_u64(json, "version", keys->version);
    json_text(json, "now", keys->now);
    if (*keys->next) {
        json_text(json, "next", keys->next);
        json_u64(json, "data_port", keys->data_port);
        json_u64(json, "events_port", keys->events_port);
    }
    json_object_end(json);
}

/** get_key() - false: there, and no key. One that is missing reads as "" */
static bool get_key(const json_t *object, const char *name, char z85[41]) {
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    z85[0] = '\0';
    if (!value)
        return true;
    if (!text || !key_check(text))
        return false;
    memcpy(z85, text, 41);
    return true;
}

static bool get_port(const json_t *object, const char *name, uint16_t *port) {
    const json_t *value = json_object_get(object, name);
    const json_int_t number = json_integer_value(value); /* 0 of what is none */
    if ((value && !json_is_integer(value)) || number < 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

bool server_keys_read(ServerKeys *keys, const json_t *object) {
    ServerKeys made = {0};
    const json_t *version = json_object_get(object, "version");
    if (!json_is_integer(version) || json_integer_value(version) <= 0 ||
        !get_key(object, "now", made.now) || !*made.now || !get_key(object, "next", made.next) ||
        !get_port(object, "data_port", &made.data_port) ||
        !get_port(object, "events_port", &made.events_port))
        return false;
    made.version = (uint64_t)json_integer_value(version);
    if (!*made.next)
        made.data_port = made.events_port = 0;
    *keys = made;
    return true;
}

bool server_keys_same(const ServerKeys *a, const ServerKeys *b) {
    return strcmp(a->now, b->now) == 0 && strcmp(a->next, b->next) == 0 &&
           a->data_port == b->data_port && a->events_port == b->events_port;
}

static void put_held(Json *json, const ServerKeysHeld *held) {
    json_object_begin(json, NULL);
    json_array_begin(json, "holds");
    if (*held->now)
        json_text(json, NULL, held->now);
    if (*held->next)
        json_text(json, NULL, held->next);
    json_array_end(json);
    json_text(json, "uses", held->uses);
    if (*held->trouble)
        json_text(json, "trouble", held->trouble);
    json_object_end(json);
}

void server_keys_hello(Buffer *to, const char *hello, const ServerKeysHeld *held) {
    const char *end = strrchr(hello, '}');
    const char *begin = strchr(hello, '{');
    if (!held->said || !end || !begin) {
        buffer_put_text(to, hello);
        return;
    }
    const char *last = end;
    while (last > begin && strchr(" \t\r\n", last[-1]))
        last--;
    buffer_put(to, hello, (size_t)(end - hello));
    buffer_printf(to, "%s\"" HELLO_MEMBER "\":", last == begin + 1 ? "" : ",");
    Json json = json_make(to);
    put_held(&json, held);
    buffer_put_text(to, "}");
}

void server_keys_held(ServerKeysHeld *held, const char *hello) {
    ServerKeysHeld found = {0};
    json_t *object = json_loads(hello, 0, NULL);
    const json_t *said = json_object_get(object, HELLO_MEMBER);
    const json_t *holds = json_object_get(said, "holds");
    const char *trouble = json_string_value(json_object_get(said, "trouble"));
    if (json_is_object(said) && get_key(said, "uses", found.uses)) {
        found.said = true;
        char *to[] = {found.now, found.next};
        for (size_t i = 0, n = 0; i < json_array_size(holds) && n < 2; i++) {
            const char *text = json_string_value(json_array_get(holds, i));
            if (text && key_check(text))
                memcpy(to[n++], text, 41);
        }
        (void)snprintf(found.trouble, sizeof(found.trouble), "%s", trouble ? trouble : "");
    }
    json_decref(object);
    *held = found;
}
