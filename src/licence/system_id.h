#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * System ID
 *
 * What a licence for one machine is bound to: four facts, each a keyed hash (BLAKE2b) of what the
 * machine says of itself, so that no raw machine-id (machine-id(5): confidential) leaves it. A
 * machine is the one a licence names while two of the four still match: a new network card, a new
 * root file system or both do not end a licence.
 *
 * As text: `weir1-MMMMMMMM-DDDDDDDD-NNNNNNNN-RRRRRRRR-CCCC`, eight characters (base32, 40 bits) a
 * fact, `0` alone for a fact the machine does not have, and a checksum against slips of the hand.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/reason.h"

typedef enum SystemFact {
    SYSTEM_MACHINE_ID, /* /etc/machine-id */
    SYSTEM_DMI_UUID,   /* of the firmware; root reads it */
    SYSTEM_MAC,        /* the permanent address of a network card */
    SYSTEM_ROOT_UUID,  /* of the root file system */
    _SYSTEM_FACT_N,
} SystemFact;

enum {
    SYSTEM_FACTS_NEEDED = 2,
    SYSTEM_HASH_CHARS = 8,
    SYSTEM_ID_CHARS = 64, /* room for the text */
};

typedef struct SystemId {
    char hashes[_SYSTEM_FACT_N][SYSTEM_HASH_CHARS + 1]; /* "" for a fact there is not */
} SystemId;

/** system_fact_hash() - of the raw text of a fact */
void system_fact_hash(char hash[SYSTEM_HASH_CHARS + 1], SystemFact fact, const char *raw);

const char *system_fact_name(SystemFact fact); /* "machine-id" */

size_t system_id_facts(const SystemId *id); /* how many it has */
size_t system_id_matches(const SystemId *a, const SystemId *b);

/** system_id_is() - enough of the facts match */
bool system_id_is(const SystemId *licensed, const SystemId *here);

const char *system_id_text(const SystemId *id, char text[SYSTEM_ID_CHARS]);

enum {
    _SYSTEM_ID_E_SUCCESS,
    SYSTEM_ID_E_REFUSED, /* not a System ID: the reason says why */
};

int system_id_parse(SystemId *id, const char *text, Reason *reason);

/**
 * system_id_here() - of this machine
 * @root: "" or a folder that stands for the machine's root, for tests
 * @cache: file in which root leaves what only root can read, NULL: none
 *
 * Root writes the cache when it differs by more than that less is seen. Others take from it what
 * they cannot read themselves, as long as something they can read is in it too.
 */
void system_id_here(SystemId *id, const char *root, const char *cache);

/** system_id_look() - likewise, and nothing is written */
void system_id_look(SystemId *id, const char *root, const char *cache);

#define SYSTEM_ID_CACHE "/var/lib/weir/system-id"

/** system_id_print() - of this machine, for --version; and what to do where it is of little use */
void system_id_print(FILE *out);
