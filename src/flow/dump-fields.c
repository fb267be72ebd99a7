/* SPDX-License-Identifier: Apache-2.0 */

/* Prints the rows of fields.def as JSON, with the names of their elements: for spec/gen/fields.py.
 */

#include <stdio.h>

#include "base/buffer.h"
#include "base/json.h"
#include "flow/field.h"

int main(void) {
    Buffer to = {0};
    Json json = json_make(&to);
    flow_fields_write_json(&json);
    int r = to.failed || puts(buffer_text(&to)) < 0;
    buffer_deinit(&to);
    return r;
}
