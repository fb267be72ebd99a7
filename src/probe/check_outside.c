/* SPDX-License-Identifier: Apache-2.0 */

#include "probe/check_inside.h"
#include "probe/doors.h"
#include "probe/licensing.h"

/* nobody asks for a licence who delivers to hubs only; a bad one is told all the same */
void check_licence(Check *check) {
    cleanup(licensing_freep) Licensing *licensing = NULL;
    LicensingConfig look = licensing_config(check->config);
    Reason line;
    look.look_only = true;
    if (licensing_new(&licensing, &look, licensing_now()) < 0) {
        check_fail(check, "licence: out of memory");
        return;
    }
    const HolderView *view = licensing_view(licensing);
    licensing_describe(licensing, &line);
    if (line.text[0] && (!view->unlocks || view->trouble.text[0]))
        check_fail(check, "%s", line.text);
    else if (line.text[0])
        check_ok(check, "%s", line.text);
    if (!look.exports)
        return;
    licensing_line(licensing, &line);
    if (licensing_unlocked(licensing))
        check_ok(check, "export: %s", line.text);
    else
        check_note(check, "export: %s", line.text);
}

void check_collectors(Check *check) {
    const OptionList *collectors = &check->config->collectors;
    if (!doors_wanted(collectors))
        return;
    for (size_t i = 0; i < collectors->n; i++) {
        DoorAddress address;
        Reason reason = {""};
        if (door_parse(&address, collectors->values[i], &reason))
            check_fail(check, "%s", reason.text); /* the options were read: does not come */
        else if (door_try(&address, &reason))
            check_fail(check, "collector %s: %s", address.text, reason.text);
        else if (address.tcp)
            check_ok(check, "collector %s: answers", address.text);
        else
            check_ok(check,
                     "collector %s: there is a way to it; whether it listens, UDP does not tell",
                     address.text);
    }
}
