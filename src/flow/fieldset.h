#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Field Sets
 *
 * Named sets of flow fields: what of a record a probe exports. `all` is every field, `v9` what
 * NetFlow v9 records usually have: who, when and how much, and nothing of what the flow is about.
 */

#include "flow/record.h"

#define FIELDSET_USUAL "all"

typedef struct FieldSet {
    const char *name;
    const char *description;
    const FlowFieldId *fields; /* NULL: every one */
    size_t n_fields;
} FieldSet;

/* FIELDSETS_N of them, the usual one first; the names alone, with a NULL at the end */
extern const FieldSet fieldsets[];
extern const char *const fieldset_names[];

enum { FIELDSETS_N = 2 };

/** fieldset_find() - NULL: there is none of this name */
const FieldSet *fieldset_find(const char *name);

/** fieldset_keep() - of the record only what is in the set; the rest becomes 0 or empty */
void fieldset_keep(const FieldSet *set, FlowRecord *record);
