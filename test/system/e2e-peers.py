#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Peers that cannot deliver: wrong key, no encryption, nobody there. The probe says which, once; the
hub shows address and cause."""
import os
import re
import socket
import time

from _causes import plain_peer
from _e2e import captures, check, free_ports, main, offline, same, wait_for

CAPTURE = [c for c in captures() if c.endswith("/tcp.pcap")][0]


def problem(hub, kind):
    """The hub's entry of that kind, once it has one with an address. (One try may be over before
    the hub could look where it came from; peers try again.)"""
    def find():
        return [p for p in hub.get("/interfaces/1")["problems"] if p["kind"] == kind
                and p["address"] != "unknown address"]
    return wait_for(f"the hub shows {kind}", find, 30)[0]


def said(program, pattern):
    return re.findall(pattern, program.log(), re.I | re.M)


def run_into(lab, *options, timeout_s=8):
    """A probe that cannot deliver: exit 3 with the flows left."""
    probe = lab.probe("-i", CAPTURE, "--exit-timeout", str(timeout_s), *options)
    same(probe.wait(timeout_s + 20), 3, "the probe ends with")
    left = said(probe, r"(\d+) flows? left")
    n = len(offline(lab, CAPTURE))
    check(left and left[-1] == str(n), f"\"{n} flows left\" is not said: {probe.log()[-1500:]}")
    return probe


def test_wrong_key(lab):
    hub, other = lab.hub(), lab.hub()
    options = ["--ntopng", f"tcp://127.0.0.1:{hub.port}", "--zmq-probe-mode",
               "--zmq-encryption-key", other.key()]
    probe = run_into(lab, *options)
    same(len(said(probe, r"^.*another key.*$")), 1,
         f"times the probe names the key, in: {probe.log()[-1500:]}")
    entry = problem(hub, "wrong_key")
    same(entry["address"], "127.0.0.1", "address")
    check("key" in entry["text"], entry["text"])
    state = hub.get("/interfaces/1")
    same(state["state"], "problem", "state of the interface")
    check("127.0.0.1" in state["state_text"], state["state_text"])
    same(hub.flows(), [], "flows")
    same(other.get("/interfaces/1")["problems"], [], "the other hub's problems")




def test_plain_peer(lab):
    hub = lab.hub()
    with plain_peer(hub.port):
        entry = problem(hub, "plain")
    same(entry["address"], "127.0.0.1", "address")
    check("encrypt" in entry["text"], entry["text"])


def test_unreachable(lab):
    hub = lab.hub()
    probe = run_into(lab, "--ntopng", f"tcp://127.0.0.1:{free_ports(2)}", "--zmq-probe-mode",
                     "--zmq-encryption-key", hub.key())
    same(len(said(probe, r"^.*(?:refused|nothing listens).*$")), 1,
         f"times the probe names the cause, in: {probe.log()[-1500:]}")


def test_hub_comes_later(lab):
    """A probe that was started first delivers when its hub is there."""
    hub = lab.hub()
    options = hub.options_for_probe()
    same(hub.stop(), 0, "the hub ends with")
    probe = lab.probe("-i", CAPTURE, "--exit-timeout", "60", *options)
    time.sleep(3)
    check(probe.running(), f"the probe ended: {probe.log()[-1000:]}")
    hub.again()
    same(probe.wait(60), 0, "the probe ends with")
    same(len(hub.flows()), len(offline(lab, CAPTURE)), "flows")


def test_flood_of_strangers(lab):
    """Peers that say nothing or nonsense do not keep a probe out."""
    hub = lab.hub()
    strangers = []
    for i in range(200):
        stranger = socket.create_connection(("127.0.0.1", hub.port), 5)
        if i % 2:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers.append(stranger)
    probe = lab.probe("-i", CAPTURE, *hub.options_for_probe())
    same(probe.wait(60), 0, "the probe ends with")
    same(len(hub.flows()), len(offline(lab, CAPTURE)), "flows")
    for stranger in strangers:
        stranger.close()


def cpu_s(program):
    with open(f"/proc/{program.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_descriptors_run_short(lab):
    """More silent connections than the hub may have: it keeps some, and does not spin."""
    hub = lab.hub(prefix=("prlimit", "--nofile=400:400"))
    strangers = []
    for _ in range(700):
        stranger = socket.socket()
        stranger.bind(("127.0.0.2", 0))
        stranger.settimeout(5)
        try:
            stranger.connect(("127.0.0.1", hub.port))
        except OSError:
            pass
        strangers.append(stranger)
    same(problem(hub, "too_many")["address"], "127.0.0.2", "address")
    used = cpu_s(hub)
    time.sleep(2)
    check(cpu_s(hub) - used < 1, f"{cpu_s(hub) - used} s of processor time in 2 s")
    begin = time.monotonic()
    probe = lab.probe("-i", CAPTURE, *hub.options_for_probe())
    same(probe.wait(60), 0, "the probe ends with")
    print(f"      a probe had delivered all after {time.monotonic() - begin:.1f} s")
    same(len(hub.flows()), len(offline(lab, CAPTURE)), "flows")
    for stranger in strangers:
        stranger.close()


main([test_wrong_key, test_plain_peer, test_unreachable, test_hub_comes_later,
      test_flood_of_strangers, test_descriptors_run_short])
