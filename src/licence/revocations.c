/* SPDX-License-Identifier: Apache-2.0 */

#include "licence/revocations.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* the ids are the names of an object, so that looking one up costs the same in a long list */
struct Revocations {
    uint64_t number;
    int64_t signed_s;
    char kid[VENDOR_KID_MAX + 1];
    json_t *ids;
};

Revocations *revocations_new(void) {
    cleanup(revocations_freep) Revocations *list = calloc(1, sizeof(*list));
    if (!list)
        return NULL;
    list->ids = json_object();
    if (!list->ids)
        return NULL;
    Revocations *made = list;
    list = NULL;
    return made;
}

Revocations *revocations_free(Revocations *list) {
    if (!list)
        return NULL;
    json_decref(list->ids);
    free(list);
    return NULL;
}

static int read_ids(Revocations *list, const json_t *ids) {
    size_t i = 0;
    const json_t *id = NULL;
    json_array_foreach(ids, i, id) {
        if (!json_is_string(id))
            return REVOCATIONS_E_FOREIGN;
        int r = revocations_add(list, json_string_value(id));
        if (r)
            return error_trace(r);
    }
    return 0;
}

int revocations_parse(Revocations **listp, const char *text, size_t size, const VendorKeys *keys,
                      Reason *reason) {
    json_t *payload = NULL;
    cleanup(revocations_freep) Revocations *list = revocations_new();
    if (!list)
        return error_origin(-ENOMEM);
    int r = token_open(&payload, text, size, keys, reason);
    if (r)
        return error_trace(r);
    const char *kind = json_string_value(json_object_get(payload, "kind"));
    const json_t *number = json_object_get(payload, "number");
    const json_t *ids = json_object_get(payload, "revoked");
    list->number = (uint64_t)json_integer_value(number);
    list->signed_s = json_integer_value(json_object_get(payload, "iat"));
    (void)snprintf(list->kid, sizeof(list->kid), "%s",
                   json_string_value(json_object_get(payload, "kid"))); /* token_open() saw it */
    if (!kind || strcmp(kind, "revocations") != 0 || json_integer_value(number) <= 0 ||
        !json_is_array(ids))
        r = REVOCATIONS_E_FOREIGN;
    else
        r = read_ids(list, ids);
    json_decref(payload);
    if (r == REVOCATIONS_E_FOREIGN)
        reason_set(reason, "it is signed, but not a list of revoked licences");
    if (r == 0) {
        *listp = list;
        list = NULL;
    }
    return error_trace(r);
}

bool revocations_has(const Revocations *list, const char *id) {
    return list && json_object_get(list->ids, id);
}

size_t revocations_count(const Revocations *list) {
    return json_object_size(list->ids);
}

uint64_t revocations_number(const Revocations *list) {
    return list->number;
}

bool revocations_newer(const Revocations *list, const Revocations *than) {
    if (!than)
        return true;
    if (strcmp(list->kid, than->kid) == 0)
        return list->number > than->number;
    return list->signed_s > than->signed_s ||
           (list->signed_s == than->signed_s && list->number > than->number);
}

int revocations_add(Revocations *list, const char *id) {
    return json_object_set_new(list->ids, id, json_true()) < 0 ? error_origin(-ENOMEM) : 0;
}

int revocations_sign(Buffer *line, const Revocations *list, const char *kid, int64_t now_s,
                     const uint8_t secret_key[VENDOR_SECRET_BYTES]) {
    json_t *ids = json_array();
    const char *id = NULL;
    json_t *unused = NULL;
    json_object_foreach(list->ids, id, unused) {
        if (json_array_append_new(ids, json_string(id)) < 0) {
            json_decref(ids);
            return error_origin(-ENOMEM);
        }
    }
    json_t *payload =
        json_pack("{s:i, s:s, s:s, s:I, s:I, s:o}", "v", 1, "kid", kid, "kind", "revocations",
                  "iat", (json_int_t)now_s, "number", (json_int_t)list->number + 1, "revoked", ids);
    if (!payload)
        return error_origin(-ENOMEM);
    int r = token_sign(line, payload, secret_key);
    json_decref(payload);
    return error_trace(r);
}
