#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""10,000 peers that are no probes, at the data and the events endpoint: a probe that is enrolled
still connects within a second and delivers, the hub's memory grows by less than 50 MB, it does not
spin, and what it had for them it gives back."""
import os
import resource
import threading
import time

from _crowd import KINDS, Crowd
from _e2e import SLOW, captures, check, main, offline, same, wait_for

CAPTURE = [c for c in captures() if c.endswith("/tcp.pcap")][0]
# as many as descriptors allow, half of which are for others
PEERS = min(10000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100)
GROWTH_BYTES = 50 * 1000 * 1000
# alone on a machine it takes 0.1 s; beside other tests it has to wait its turn
CONNECT_S = 1 if os.environ.get("WEIR_ALONE") else 8 * SLOW


def memory_bytes(program):
    with open(f"/proc/{program.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def descriptors(program):
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def cpu_s(program):
    with open(f"/proc/{program.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watched:
    """A hub that knows a probe, and how much memory it takes at most from then on."""

    def __init__(self, lab):
        self.lab, self.hub = lab, lab.hub()
        self.flows = len(offline(lab, CAPTURE))
        self.options = self.hub.options_for_probe()
        same(self.deliver().wait(60), 0, "the probe ends with")
        self.before, self.most = memory_bytes(self.hub), 0
        self.fds, self.over = descriptors(self.hub), threading.Event()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while not self.over.wait(0.05):
            try:
                self.most = max(self.most, memory_bytes(self.hub))
            except OSError:
                return

    def deliver(self):
        return self.lab.probe("-i", CAPTURE, *self.options, name="site")

    def connects(self, what):
        """The enrolled probe, from its start: when it is connected, and when all is stored."""
        stored = self.hub.get("/probes")[0]["flows_stored"]
        said = self.deliver_log().count("connected;")
        begin = time.monotonic()
        probe = self.deliver()
        wait_for("the probe is connected",
                 lambda: self.deliver_log().count("connected;") > said or not probe.running(), 60)
        connected_s = time.monotonic() - begin
        same(probe.wait(60), 0, "the probe ends with")
        stored_s = time.monotonic() - begin
        same(self.hub.get("/probes")[0]["flows_stored"] - stored, self.flows, "flows stored")
        print(f"      {what}: connected {connected_s:.2f} s after the start, stored {stored_s:.2f} s")
        check(connected_s < CONNECT_S, f"connected after {connected_s:.1f} s")

    def deliver_log(self):
        with open(self.lab.path("site.log")) as file:
            return file.read()

    def grew(self):
        return self.most - self.before

    def left(self):
        """When they are gone, their descriptors and most of their memory are back."""
        wait_for("descriptors are back", lambda: descriptors(self.hub) <= self.fds + 8, 30)
        wait_for("memory is back",
                 lambda: memory_bytes(self.hub) - self.before < GROWTH_BYTES / 2, 30)
        self.over.set()
        print(f"      memory + {self.grew() / 1e6:.1f} MB at most, "
              f"+ {(memory_bytes(self.hub) - self.before) / 1e6:.1f} MB afterwards")
        lines = self.hub.log().count("\n")
        check(lines < 1000, f"{lines} lines in the log")
        if SLOW == 1:
            check(self.grew() < GROWTH_BYTES, f"memory grew by {self.grew()} bytes")


def test_silent(lab):
    """They say nothing, or half a greeting, and cost next to nothing."""
    it = Watched(lab)
    with Crowd([it.hub.port, it.hub.port + 1], PEERS, ("silent", "half")) as crowd:
        wait_for("they are there", lambda: crowd.look()[0] == PEERS, 20)
        wait_for("the hub has taken them", lambda: descriptors(it.hub) >= PEERS, 8)
        used = cpu_s(it.hub)
        time.sleep(5)
        used = (cpu_s(it.hub) - used) / 5
        print(f"      {crowd.look()[0]} silent ones take {used * 100:.1f} % of a core")
        it.connects("beside silent ones")
        check(used < 0.2, f"{used * 100:.0f} % of a core")
    it.left()


def test_all_kinds(lab):
    """Garbage of every kind, again and again."""
    it = Watched(lab)
    with Crowd([it.hub.port, it.hub.port + 1], PEERS) as crowd:
        wait_for("each has tried", lambda: crowd.look()[1] > PEERS, 30)
        it.connects("beside " + ", ".join(KINDS))
        time.sleep(3)
        it.connects("once more")
        print(f"      {crowd.look()[1]} connections, {crowd.look()[2]} cut")
    it.left()


def test_greeting(lab):
    """A right greeting, for which libzmq takes memory, and nothing more."""
    it = Watched(lab)
    with Crowd([it.hub.port, it.hub.port + 1], PEERS, ("greeting",)) as crowd:
        wait_for("each has tried", lambda: crowd.look()[1] > PEERS, 30)
        it.connects("beside greetings")
        time.sleep(5)
        cut = [row for row in it.hub.fetch("/metrics")[1].decode().splitlines()
               if row.startswith("weir_interface_cut_total")]
        check(int(cut[0].rsplit(" ", 1)[1]) > 0, f"some were cut: {cut}")
        check(crowd.look()[2] > 0, "and noticed it")
    it.left()


main([test_silent, test_all_kinds, test_greeting])
