/* SPDX-License-Identifier: Apache-2.0 */

/* Any text is refused with a reason or becomes a filter that a record can be held against. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "query/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;

    QueryFilter *filter = NULL;
    Reason reason = {0};
    int r = query_filter_new(&filter, text, &reason);
    if (r == 0) {
        FlowRecord record = {.dst_port = 443, .protocol = 6, .octets = 2000};
        record.app_name = (FlowText){.text = "TLS", .size = 3};
        record.src_ip = net_address_v4((const uint8_t[]){10, 0, 0, 1});
        (void)query_match(filter, &record);
    } else if (r < 0 || reason.text[0] == 0) {
        abort();
    }
    query_filter_free(filter);
    free(text);
    return 0;
}
