#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""The fault campaign (make fault) in short, always with the same faults; and that its verdict can be
a bad one: a spool that is emptied behind the probe's back, and a hub that answers something else."""
import os
import shutil
import subprocess
import sys
import time

SOURCE = os.environ.get("WEIR_SOURCE", ".")
BUILD = os.environ.get("WEIR_BUILD", "build")
sys.path.insert(0, os.path.join(SOURCE, "test", "fault"))

import campaign  # noqa: E402
import faults  # noqa: E402
import ledger  # noqa: E402
from _e2e import check, main, same, wait_for  # noqa: E402

SEED = int(os.environ.get("SEED") or 5)
FAULTS, FLOWS, LONGEST_S = 14, 30000, 4.0
TOO_LONG = {"an outage longer than the spool holds", "probe dies between unlink and fsync",
            "hub's disk full", "hub's disk full, and killed"}


def test_faults(_):
    kinds = [kind for kind in faults.FAULTS if kind.name not in TOO_LONG]
    first = [faults.configuration_changed, faults.server_key_changed]
    one = campaign.Campaign(SEED, FAULTS, FLOWS, LONGEST_S, kinds,
                            first=[kind for kind in kinds if kind.act in first])
    verdict = one.run()
    check(verdict.good, verdict.text())
    check(verdict.committed > FLOWS // 2, f"{verdict.committed} flows were durable")
    noticed = campaign.prove(one.evidence)
    check(noticed >= 4, f"{noticed} ways of spoiling the answers were tried")


def destroy(world, _, site):
    """What a promise cannot survive, and what the campaign does not know of"""
    world.disconnect(site.name)
    time.sleep(0.5)
    before = len(ledger.booked(site.ledger))
    wait_for("more is durable", lambda: len(ledger.booked(site.ledger)) >= before + 3)
    site.kill()
    world.hub.kill()  # else the kernel would still deliver what had been given to it
    for name in os.listdir(site.spool):
        path = os.path.join(site.spool, name)
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    world.hub.start()
    site.restart()
    world.connect(site.name)


def test_broken(_):
    kinds = [faults.Fault("spool emptied", ("hub", "site", "net"), destroy, 1)]
    verdict = campaign.Campaign(SEED, 1, 3000, LONGEST_S, kinds, keeps=False).run()
    same(set(verdict.complaints), {"lost"}, "complaints of an emptied spool")


subprocess.run(["ninja", "-C", BUILD, "--quiet", "test/fault/libfault.so"], check=True)
main([test_faults, test_broken])
