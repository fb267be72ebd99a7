/* SPDX-License-Identifier: Apache-2.0 */

/* What reads as a configuration, or as a report, writes back as the same. */

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "channel/configuration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Buffer text = {0};
    Reason reason = {""};
    Configuration read;
    Configuration again;
    if (configuration_read(&read, (const char *)data, size, &reason) == 0) {
        Json json = json_make(&text);
        configuration_write(&json, NULL, &read);
        if (text.size > CONFIGURATION_TEXT_MAX ||
            configuration_read(&again, (const char *)text.bytes, text.size, NULL) != 0 ||
            again.id != read.id || again.version != read.version ||
            !configuration_same(&again, &read))
            abort();
    } else if (!*reason.text || read.set) {
        abort();
    }
    buffer_clear(&text);
    ConfigurationReport report;
    ConfigurationReport same;
    json_t *object = json_loadb((const char *)data, size, 0, NULL);
    if (configuration_report_read(&report, object) == 0) {
        Json json = json_make(&text);
        configuration_report_write(&json, NULL, &report);
        json_decref(object);
        object = json_loadb((const char *)text.bytes, text.size, 0, NULL);
        if (configuration_report_read(&same, object) != 0 || same.state != report.state ||
            !configuration_same(&same.running, &report.running))
            abort();
    }
    json_decref(object);
    buffer_deinit(&text);
    return 0;
}
