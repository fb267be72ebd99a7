/* SPDX-License-Identifier: Apache-2.0 */

#include <malloc.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "probe/check.h"
#include "probe/deliver.h"
#include "probe/image.h"
#include "probe/licensing.h"
#include "probe/options.h"
#include "probe/run.h"

enum { TRIM_BYTES = 4 << 20 };

static LogLevel log_level(uint32_t verbose) {
    return verbose == 0 ? LOG_LEVEL_NOTICE : verbose == 1 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

int main(int argc, char **argv) {
    cleanup(option_set_freep) OptionSet *set = NULL;
    ProbeConfig config;
    Reason reason = {""};
    int r = option_read(&set, &probe_program, &config, argc, argv, stdout, &reason);
    if (r == OPTION_E_DONE)
        return RUN_DONE;
    if (r == 0)
        r = options_check(&config, &reason);
    if (r == 0 && !config.prepare_image && !config.check_license)
        r = deliver_check(&config, &reason);
    if (r < 0) {
        (void)fprintf(stderr, "weir-probe: %s\n",
                      error_describe(r, reason.text, sizeof(reason.text)));
        return RUN_FAILED;
    }
    if (r > 0) {
        (void)fprintf(stderr, "weir-probe: %s\n", reason.text);
        return RUN_USAGE;
    }

    if (config.check_license)
        return licensing_check(&config);
    if (config.check)
        return check_run(&config);
    if (config.prepare_image)
        return image_prepare(&config);
    /* batches come and go: to give their memory back each time and be given it again, emptied,
     * costs more than to keep it */
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    log_open("weir-probe", log_level(config.verbose));
    const char *const *lines = NULL;
    size_t n = option_notices(set, &lines);
    for (size_t i = 0; i < n; i++)
        log_notice("%s", lines[i]);
    return run_probe(&config);
}
