/* SPDX-License-Identifier: Apache-2.0 */

#include "base/hash.h"
#include "collect/record.h"

/* A record is the sum of its fields, each times an odd number of its own, and that sum is then
 * mixed: fields may be added in any order, and quickly, but not exchanged between records. Which
 * fields there are is found out once for all records that say the same ones. */

static uint64_t weight(unsigned i) {
    return (2 * (uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
}

static uint64_t load(const void *at) {
    uint64_t v = 0;
    memcpy(&v, at, sizeof(v));
    return v;
}

static void put_word(CollectChecksum *checksum, size_t at, size_t size, unsigned i) {
    checksum->words[checksum->n].at = (uint16_t)at;
    checksum->words[checksum->n].mask = UINT64_MAX >> (64 - 8 * size);
    checksum->words[checksum->n++].weight = weight(i);
}

static void put_field(CollectChecksum *checksum, unsigned id) {
    const CollectField *field = &collect_fields[id];
    if (field->size <= 8) { /* no number stands at the very end of a record */
        put_word(checksum, field->offset, field->size, id);
    } else if (field->kind == COLLECT_KIND_ADDRESS) {
        put_word(checksum, field->offset, 1, id);
        put_word(checksum, field->offset + offsetof(NetAddress, bytes), 8, id + 128);
        put_word(checksum, field->offset + offsetof(NetAddress, bytes) + 8, 8, id + 256);
    } else {
        checksum->other[checksum->n_other++] = (uint8_t)id;
    }
}

static void look(CollectChecksum *checksum, const CollectRecord *record) {
    memcpy(checksum->seen, record->seen, sizeof(record->seen));
    checksum->n = checksum->n_other = 0;
    for (unsigned id = 0; id < _COLLECT_FIELD_N; id++)
        if (collect_seen(record, id) && id != COLLECT_EXPORTER_IP && id != COLLECT_SOURCE_IP)
            put_field(checksum, id);
}

static uint64_t of_other(const CollectRecord *record, unsigned id) {
    const CollectField *field = &collect_fields[id];
    const void *at = (const uint8_t *)record + field->offset;
    if (field->kind == COLLECT_KIND_LIST) {
        const CollectList *list = at;
        return hash_bytes(list->values, list->n * sizeof(list->values[0]), list->n);
    }
    const FlowText *text = at;
    return text->size ? hash_bytes(text->text, text->size, 0) : 0;
}

void collect_checksum_add(CollectChecksum *checksum, const CollectRecord *record) {
    const uint8_t *bytes = (const void *)record;
    uint64_t sum = 0;
    if (memcmp(checksum->seen, record->seen, sizeof(record->seen)) != 0)
        look(checksum, record);
    for (unsigned i = 0; i < checksum->n; i++)
        sum += (load(bytes + checksum->words[i].at) & checksum->words[i].mask) *
               checksum->words[i].weight;
    for (unsigned i = 0; i < checksum->n_other; i++)
        sum += of_other(record, checksum->other[i]) * weight(checksum->other[i]);
    checksum->sum += hash_u64(sum, 0);
}
