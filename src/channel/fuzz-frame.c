/* SPDX-License-Identifier: Apache-2.0 */

/* What reads as a frame writes back as the same bytes (but for the reserved ones); so for state. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Frame frame;
    Buffer text = {0};
    if (frame_read(&frame, data, size) == 0) {
        frame_write(&text, &frame);
        if (text.size != size)
            abort();
        static Frame back;
        if (frame_read(&back, text.bytes, text.size) != 0 || back.kind != frame.kind)
            abort();
    }
    buffer_clear(&text);
    static ControlState state, again;
    if (control_read(&state, data, size) == 0) {
        control_write(&text, &state);
        if (control_read(&again, text.bytes, text.size) != 0 ||
            again.delivery.n_marks != state.delivery.n_marks ||
            again.delivery.nonce != state.delivery.nonce)
            abort();
    }
    buffer_deinit(&text);
    return 0;
}
