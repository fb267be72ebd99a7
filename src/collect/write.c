/* SPDX-License-Identifier: Apache-2.0 */

#include <string.h>

#include "base/json.h"
#include "collect/record.h"
#include "net/address.h"

enum {
    UNKNOWN_SHOWN = 256,  /* bytes in hex */
    UNKNOWN_TEXT_MIN = 4, /* fewer bytes are a number, though they look like letters */
};

const CollectField collect_fields[_COLLECT_FIELD_N] = {
#define COLLECT_FIELD(id, json_name, field_kind, member)                                           \
    [COLLECT_##id] = {.name = (json_name),                                                         \
                      .kind = COLLECT_KIND_##field_kind,                                           \
                      .offset = offsetof(CollectRecord, member),                                   \
                      .size = sizeof(((CollectRecord *)NULL)->member)},
#include "collect/fields.def"
#undef COLLECT_FIELD
};

_Static_assert(_COLLECT_FIELD_N <= 128, "`seen` has a bit a field");

static uint64_t number_at(const void *at, size_t size) {
    switch (size) {
    case 1:
        return *(const uint8_t *)at;
    case 2:
        return *(const uint16_t *)at;
    case 4:
        return *(const uint32_t *)at;
    default:
        return *(const uint64_t *)at;
    }
}

static char *put_hex(char *to, const uint8_t *bytes, size_t n, const char *between) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        if (i)
            to = stpcpy(to, between);
        *to++ = digits[bytes[i] >> 4];
        *to++ = digits[bytes[i] & 15];
    }
    *to = 0;
    return to;
}

static void write_text(Json *json, const char *name, const FlowText *text) {
    size_t size = text->size;
    while (size > 0 && text->text[size - 1] == 0)
        size--;
    if (size)
        json_textn(json, name, text->text, size);
}

static void write_hex(Json *json, const char *name, const FlowText *text) {
    char hex[64];
    const size_t n = text->size < sizeof(hex) / 2 ? text->size : sizeof(hex) / 2 - 1;
    if (n == 0)
        return;
    (void)put_hex(hex, (const uint8_t *)text->text, n, "");
    json_text(json, name, hex);
}

static void write_list(Json *json, const char *name, const CollectList *list) {
    size_t n = list->n;
    while (n > 0 && list->values[n - 1] == 0)
        n--;
    if (n == 0)
        return;
    json_array_begin(json, name);
    for (size_t i = 0; i < n; i++)
        json_u64(json, NULL, list->values[i]);
    json_array_end(json);
}

static void write_field(const CollectRecord *record, const CollectField *field, Json *json) {
    const void *at = (const uint8_t *)record + field->offset;
    char text[NET_ADDRESS_TEXT_MAX];
    switch (field->kind) {
    case COLLECT_KIND_NUMBER:
        json_u64(json, field->name, number_at(at, field->size));
        break;
    case COLLECT_KIND_ADDRESS:
        if (((const NetAddress *)at)->family)
            json_text(json, field->name, net_address_format(at, text));
        break;
    case COLLECT_KIND_MAC:
        (void)put_hex(text, at, sizeof(FlowMac), ":");
        json_text(json, field->name, text);
        break;
    case COLLECT_KIND_TEXT:
        write_text(json, field->name, at);
        break;
    case COLLECT_KIND_HEX:
        write_hex(json, field->name, at);
        break;
    case COLLECT_KIND_LIST:
        write_list(json, field->name, at);
        break;
    case COLLECT_KIND_BOOL:
        json_bool(json, field->name, *(const bool *)at);
        break;
    case COLLECT_KIND_VERSION:
        if (*(const uint8_t *)at == COLLECT_VERSION_SFLOW)
            json_text(json, field->name, "sflow");
        else
            json_u64(json, field->name, *(const uint8_t *)at);
    }
}

/* as text where it is, else in hex digits behind 0x */
static void write_unknown(Json *json, const CollectUnknown *unknown) {
    char hex[2 + 2 * UNKNOWN_SHOWN + 1] = "0x";
    size_t size = unknown->size;
    while (size > 0 && unknown->bytes[size - 1] == 0)
        size--;
    bool text = size >= UNKNOWN_TEXT_MIN;
    for (size_t i = 0; text && i < size; i++)
        text = unknown->bytes[i] >= ' ' && unknown->bytes[i] < 0x7f;
    json_object_begin(json, NULL);
    json_u64(json, "pen", unknown->pen);
    json_u64(json, "element", unknown->element);
    if (text) {
        json_textn(json, "value", (const char *)unknown->bytes, size);
    } else {
        const size_t n = unknown->size < UNKNOWN_SHOWN ? unknown->size : UNKNOWN_SHOWN;
        (void)put_hex(hex + 2, unknown->bytes, n, "");
        json_text(json, "value", hex);
    }
    json_object_end(json);
}

void collect_record_write_json(const CollectRecord *record, Json *json) {
    json_object_begin(json, NULL);
    for (unsigned id = 0; id < _COLLECT_FIELD_N; id++)
        if (collect_seen(record, id) && collect_fields[id].name)
            write_field(record, &collect_fields[id], json);
    if (record->n_unknown) {
        json_array_begin(json, "unknown");
        for (uint32_t i = 0; i < record->n_unknown; i++)
            write_unknown(json, &record->unknown[i]);
        json_array_end(json);
    }
    json_object_end(json);
}
