/* SPDX-License-Identifier: Apache-2.0 */

/* Prints the rows of cause.def as JSON: for spec/gen/causes.py and the system tests. */

#include <stdio.h>

#include "base/buffer.h"
#include "base/json.h"
#include "channel/cause.h"

int main(void) {
    Buffer to = {0};
    Json json = json_make(&to);
    json_array_begin(&json, NULL);
    for (int i = CAUSE_NONE + 1; i < _CAUSE_N; i++) {
        const CauseRow *row = &cause_rows[i];
        json_object_begin(&json, NULL);
        json_text(&json, "id", row->id);
        json_text(&json, "cause", row->cause);
        json_bool(&json, "probe", row->where & CAUSE_ON_PROBE);
        json_bool(&json, "check", row->where & CAUSE_ON_CHECK);
        json_bool(&json, "hub", row->where & CAUSE_ON_HUB);
        json_text(&json, "text", row->text);
        json_text(&json, "mend", row->mend);
        json_object_end(&json);
    }
    json_array_end(&json);
    int r = to.failed || puts(buffer_text(&to)) < 0;
    buffer_deinit(&to);
    return r;
}
