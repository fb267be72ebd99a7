/* SPDX-License-Identifier: Apache-2.0 */

#include "base/hash.h"
#include "collect/record.h"

/* A record is the sum of its words, of each only the bytes of fields that were said, each times an
 * odd number of its own, and that sum is then mixed: words may be added in any order, and quickly,
 * but not exchanged between records. Which words and bytes these are is found out once for all
 * records that say the same fields; some layouts are kept, for such records come by turns. */

enum { WORD = 8, WORDS = sizeof(CollectRecord) / WORD };

static uint64_t weight(size_t i) {
    return (2 * (uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
}

static uint64_t load(const void *at) {
    uint64_t v = 0;
    memcpy(&v, at, sizeof(v));
    return v;
}

static bool is_plain(const CollectField *field) {
    return field->size <= WORD || field->kind == COLLECT_KIND_ADDRESS;
}

static void look(CollectLayout *layout, const CollectRecord *record) {
    uint8_t said[sizeof(CollectRecord)] = {0}; /* 255: this byte is of a field */
    memcpy(layout->seen, record->seen, sizeof(record->seen));
    layout->n = layout->n_other = 0;
    for (unsigned id = 0; id < _COLLECT_FIELD_N; id++) {
        const CollectField *field = &collect_fields[id];
        if (!collect_seen(record, (CollectFieldId)id) || id == COLLECT_EXPORTER_IP ||
            id == COLLECT_SOURCE_IP)
            continue;
        if (is_plain(field))
            memset(said + field->offset, UINT8_MAX, field->size);
        else
            layout->other[layout->n_other++] = (uint8_t)id;
    }
    for (size_t i = 0; i < WORDS; i++) {
        const uint64_t mask = load(said + i * WORD);
        if (!mask)
            continue;
        layout->words[layout->n].at = (uint16_t)(i * WORD);
        layout->words[layout->n].mask = mask;
        layout->words[layout->n++].weight = weight(i);
    }
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

static const CollectLayout *layout_of(CollectChecksum *checksum, const CollectRecord *record) {
    for (size_t i = 0; i < COLLECT_LAYOUTS; i++)
        if (memcmp(checksum->layouts[i].seen, record->seen, sizeof(record->seen)) == 0)
            return &checksum->layouts[i];
    CollectLayout *layout = &checksum->layouts[checksum->next++ % COLLECT_LAYOUTS];
    look(layout, record);
    return layout;
}

void collect_checksum_add(CollectChecksum *checksum, const CollectRecord *record) {
    const uint8_t *bytes = (const void *)record;
    const CollectLayout *layout = layout_of(checksum, record);
    uint64_t sum = 0;
    for (unsigned i = 0; i < layout->n; i++)
        sum +=
            (load(bytes + layout->words[i].at) & layout->words[i].mask) * layout->words[i].weight;
    for (unsigned i = 0; i < layout->n_other; i++)
        sum += of_other(record, layout->other[i]) * weight(WORDS + layout->other[i]);
    checksum->sum += hash_u64(sum, 0);
}
