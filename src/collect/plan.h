#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reading Plans
 *
 * A template compiled for reading into CollectRecords: its fields of fixed length between two
 * variable ones form a run whose bytes are taken at once; each op then reads at a place inside the
 * run. What no row knows is stepped over by its length and costs nothing. NetFlow v1, v5 and v7 are
 * templates that never change.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect/record.h"

typedef struct Cursor Cursor;

enum {
    PLAN_FIELDS_MAX = 512,
    PLAN_V9_SCOPE = 0x7fff0001, /* not a PEN: scope types of NetFlow v9 */
    PLAN_UNKNOWN = 0x7fff0002,  /* not a PEN: fields that are only stepped over */
};

/* a field of a template as it stands on the wire */
typedef struct PlanField {
    uint32_t pen;
    uint16_t element;
    uint16_t length;
} PlanField;

typedef struct Plan {
    size_t record_bytes; /* the least a record can take */
    uint64_t seen[2];    /* the fields that it says */
    bool first_uptime, last_uptime, has_duration;
    bool has_frame, frame_is_ip;
    bool has_sampling;
    bool two_layers; /* outer IP header and inner one: the last ones named count */
    bool fixed;      /* every record has record_bytes */
    bool whole;      /* every record writes every member that any record of the plan does */
    size_t bytes;    /* of memory, behind this */
    size_t n_ops;
    struct PlanOp *ops;
    PlanField *unknown; /* of those that are kept as they are */
} Plan;

/* what a record's times are relative to */
typedef struct PlanClock {
    uint64_t export_ms;
    uint64_t uptime_ms; /* at that time, where the header says so */
    bool has_uptime;
    uint64_t boot_ms; /* else when the exporter started, as its options said; 0: unknown */
} PlanClock;

/** plan_make() - of n fields; keep: the unknown ones, too; -ENOMEM */
int plan_make(Plan *plan, const PlanField *fields, size_t n, bool keep);
void plan_deinit(Plan *plan);

/**
 * plan_read() - up to n records into zeroed CollectRecords; how many. Of a fixed plan as many as
 * there are, an element of all of them at a time; else until one is cut short, which c->failed
 * says. Of a whole plan the records may be those of its last call as they were left.
 */
size_t plan_read(const Plan *plan, Cursor *c, CollectRecord *records, size_t n,
                 const PlanClock *clock);
