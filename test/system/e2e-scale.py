#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More probes at once than the hub's waiting room holds: all are admitted and stored, have two
connections each, and are back after a restart. Also shows that the simulated probes of bench/ work."""
import os
import sys

from _e2e import SLOW, SOURCE, check, main, same, wait_for

sys.path.insert(0, os.path.join(SOURCE, "bench"))
from common import descriptors_of, need_descriptors  # noqa: E402
from scale import Crowd  # noqa: E402

PROBES = 1300   # HUB_WAITING_MAX is 1,024
FLOWS_EACH = 20  # of the one batch that each delivers


def test_crowd(lab):
    need_descriptors(2 * PROBES + 500, "the test")
    hub = lab.hub()
    idle = descriptors_of(hub.process.pid)
    with open(os.path.join(hub.data_dir, "zmq-key.pub"), encoding="ascii") as file:
        key = file.read().strip()
    with Crowd(hub.port, hub.port + 1, key, PROBES, "busy") as crowd:
        crowd.wait_synced(60 * SLOW)
        crowd.tell("b")
        crowd.wait_synced(60 * SLOW, PROBES * FLOWS_EACH)
        wait_for("every flow is stored", lambda: hub.get("/status")["store"]["flows"] == PROBES * FLOWS_EACH)
        taken = descriptors_of(hub.process.pid) - idle
        check(abs(taken - 2 * PROBES) < 20, f"{taken} descriptors of {PROBES} probes")
        hub.stop(60)
        hub.again()
        crowd.wait_synced(60 * SLOW)
        same(crowd.last["malformed"], 0, "states that could not be read")
        wait_for("the page has them all",
                 lambda: sum(p["connected"] for p in hub.get("/probes")) == PROBES)


main([test_crowd])
