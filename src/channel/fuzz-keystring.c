/* SPDX-License-Identifier: Apache-2.0 */

/* Key strings and endpoints: whatever is accepted is a key, and reads back from what is written. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "channel/endpoint.h"
#include "channel/keys.h"
#include "channel/keystring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    Reason reason;
    KeyString key;
    if (keystring_parse(&key, text, &reason) == 0) {
        KeyString back;
        Buffer written = {0};
        if (!key_check(key.server_z85) || keystring_write(&written, &key) != 0 ||
            keystring_parse(&back, buffer_text(&written), &reason) != 0 || !back.checked ||
            strcmp(back.server_z85, key.server_z85) != 0 || strcmp(back.token, key.token) != 0)
            abort();
        buffer_deinit(&written);
    }
    Endpoint endpoint, again;
    if (endpoint_parse(&endpoint, text, &reason) == 0) {
        char out[300];
        endpoint_write(&endpoint, out, sizeof(out));
        if (endpoint_parse(&again, out, &reason) != 0 || strcmp(again.host, endpoint.host) != 0 ||
            again.port != endpoint.port)
            abort();
    }
    free(text);
    return 0;
}
