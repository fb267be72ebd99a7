#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 400 s
"""The hub's disk stands still for a minute while three probes go on: no session is cut, the hub
answers, its memory stays within bounds, and afterwards each flow is stored once. WEIR_STALL_S and
WEIR_FLOWS_S (of a probe) make it longer or harder."""
import os
import re
import threading
import time

from _causes import shim
from _e2e import SLOW, check, main, same, wait_for
from _feed import Feed, total

STALL_S = int(os.environ.get("WEIR_STALL_S", 60))
FLOWS_S = int(os.environ.get("WEIR_FLOWS_S", 2000))
SITES = 3
APART = 1 << 22  # first numbers of two sites: each has a /10 of sources
BLOCK = 1 << 14  # flows that are counted together


def memory_bytes(program, what="VmRSS"):
    with open(f"/proc/{program.process.pid}/status") as file:
        return int(re.search(what + r":\s+(\d+) kB", file.read())[1]) * 1024


class Site:
    """A probe whose flows come at a steady rate, until told to end."""

    def __init__(self, lab, hub, number):
        self.first = number * APART
        # its spool is not on the disk that stands still
        self.feed = Feed(lab, self.first, *hub.options_for_probe(), "--exit-timeout", "200",
                         name=f"site{number}")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        begin, n = time.monotonic(), 0
        while not self.over.wait(0.05):
            due = int((time.monotonic() - begin) * FLOWS_S) - n
            self.feed.flows(due)
            n += due

    def end(self):
        self.over.set()
        self.thread.join()
        self.feed.end()


def address(number):
    return ".".join(str((0x0a000000 + number) >> shift & 255) for shift in (24, 16, 8, 0))


def flows_stored(hub):
    return sum(probe["flows_stored"] for probe in hub.get("/probes"))


def stored_once(hub, site):
    """Flows by blocks of numbers: what was doubled or lost shows, a batch being flows in a row."""
    for first in range(site.first, site.feed.next, BLOCK):
        page = hub.get("/flows", from_=0, to=2 ** 43, limit=1,
                       filter=f"src_ip in {address(first)}/18")
        same(page["total"], min(BLOCK, site.feed.next - first), f"flows from {address(first)} on")


def watch(hub, limit_s):
    """While the disk stands still: the largest memory, the longest answer, and the statuses that
    questions about flows got."""
    most, slowest, statuses, end = 0, 0.0, set(), time.monotonic() + limit_s
    while time.monotonic() < end:
        begin = time.monotonic()
        probes = hub.get("/probes")
        statuses.add(hub.fetch("/api/v1/flows", from_=0, to=2 ** 43, limit=1)[0])
        slowest = max(slowest, time.monotonic() - begin)
        check(len(probes) == SITES and all(p["connected"] for p in probes),
              f"the sessions stand: {probes}")
        most = max(most, memory_bytes(hub))
        time.sleep(0.25)
    return most, slowest, statuses


def test_stalled(lab):
    flag = lab.path("stall")
    env = [f"{k}={v}" for k, v in shim(lab, WEIR_SHIM_STALL=flag).items()]
    hub = lab.hub(prefix=("env", *env))
    sites = [Site(lab, hub, number) for number in range(SITES)]
    wait_for("all deliver", lambda: len(hub.get("/probes")) == SITES and total(hub) > 0, 30)
    before, _, statuses = watch(hub, 12)
    same(statuses, {200}, "answers")
    stored = flows_stored(hub)
    check(stored > SITES * FLOWS_S, f"{stored} flows before")
    with open(flag, "w"):
        pass
    time.sleep(1)  # a commit may have been through
    stored = flows_stored(hub)
    most, slowest, statuses = watch(hub, STALL_S)
    check(503 in statuses and statuses <= {200, 503}, f"answers to questions: {statuses}")
    same(flows_stored(hub), stored, "flows stored meanwhile")
    os.unlink(flag)
    begin = time.monotonic()
    for site in sites:
        site.end()
    for site in sites:
        same(site.feed.probe.wait(120), 0, "the probe ends with")
    print(f"      {stored} flows stored before, {sum(s.feed.next - s.first for s in sites)} in all; "
          f"memory {before >> 20} MiB, + {(most - before) / 1048576:.1f} MiB in {STALL_S} s; slowest "
          f"answer {slowest:.2f} s; all stored {time.monotonic() - begin:.1f} s later")
    wait_for("the store answers", lambda: 503 != hub.fetch("/api/v1/flows", from_=0, to=2 ** 43, limit=1)[0], 60)
    for site in sites:
        stored_once(hub, site)
        same(site.feed.probe.log().count("connected"), 1, f"connected: {site.feed.probe.log()}")
    same(total(hub), sum(s.feed.next - s.first for s in sites), "flows in all")
    for probe in hub.get("/probes"):
        same(probe["flows_missing"], 0, "missing")
    same(hub.log().count(" connected,"), SITES, f"sessions: {hub.log()}")
    check(most - before <= 64 << 20, f"memory grew by {(most - before) >> 20} MiB")
    check(slowest < 5 * SLOW, f"an answer took {slowest:.1f} s")


main([test_stalled])
