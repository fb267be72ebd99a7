#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""The hub and the probe are killed in mid-stream: each flow is stored once, or told to be missing."""
import os
import shutil
import struct
import subprocess
import time

from _e2e import check, main, offline, same, same_flows, wait_for
from _feed import Feed, numbers
from _flood import ask

FLOWS = 24000


def many_flows(path, n=FLOWS, base=0):
    """A capture of n one-packet UDP flows, each its own addresses and ports; 200 a millisecond."""
    def checksum(data):
        total = sum(struct.unpack(f">{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i in range(base, base + n):
            payload = b"weir" * 4
            udp = struct.pack(">HHHH", 1024 + i % 50000, 9, 8 + len(payload), 0) + payload
            head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i & 0xffff, 0, 64, 17, 0,
                               bytes((10, i >> 16 & 255, i >> 8 & 255, i & 255)),
                               bytes((10, 200, 0, 1)))
            head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
            frame = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00" + head + udp
            at_us = (i - base) * 5
            file.write(struct.pack("<IIII", 1700000000 + at_us // 1000000, at_us % 1000000,
                                   len(frame), len(frame)) + frame)
    return path


def test_hub_killed(lab):
    """kill -9 of the hub, five times while one probe delivers: exactly once."""
    hub = lab.hub()
    options = hub.options_for_probe()
    capture = many_flows(lab.path("many.pcap"))
    expected = offline(lab, capture)
    same(len(expected), FLOWS, "flows in the capture")
    probe = lab.probe("-i", capture, "--exit-timeout", "90", *options, name="site")
    for turn in range(5):
        time.sleep(0.15 + 0.2 * turn)
        hub.kill()
        time.sleep(0.3)
        hub.again()
    same(probe.wait(120), 0, "the probe ends with")
    same_flows(hub.flows(), expected, "after five kill -9")
    row = hub.get("/probes")[0]
    same(row["flows_missing"], 0, "missing")


def test_hub_stopped(lab):
    """SIGTERM with flows under way: what was acknowledged is there after the next start."""
    hub = lab.hub()
    options = hub.options_for_probe()
    capture = many_flows(lab.path("many.pcap"))
    probe = lab.probe("-i", capture, "--exit-timeout", "90", *options, name="site")
    time.sleep(0.3)
    same(hub.stop(), 0, "the hub ends with")
    time.sleep(1)
    hub.again()
    same(probe.wait(120), 0, "the probe ends with")
    same_flows(hub.flows(), offline(lab, capture), "after a stop")


def test_probe_killed(lab):
    """kill -9 of the probe: nothing comes twice, the next one with the same key delivers."""
    hub = lab.hub()
    options = hub.options_for_probe()
    first = many_flows(lab.path("first.pcap"))
    probe = lab.probe("-i", first, *options, name="site")
    wait_for("some flows are stored", lambda: hub.get("/status")["store"]["flows"] > 0)
    probe.kill()
    wait_for("the hub sees it go", lambda: not hub.get("/probes")[0]["connected"], 60)
    got = hub.flows()
    keys = {(f["src_ip"], f["src_port"]) for f in got}
    same(len(keys), len(got), "flows, each once")

    second = many_flows(lab.path("second.pcap"), 500, FLOWS)
    again = lab.probe("-i", second, *options, name="site again", data_dir=lab.path("site"))
    same(again.wait(60), 0, "the second run ends with")
    same(len(hub.get("/probes")), 1, "probes")
    fresh = [f for f in hub.flows() if (f["src_ip"], f["src_port"]) not in keys]
    same_flows(fresh, offline(lab, second), "of the second run")


def test_disk_full(lab):
    """No room: the hub says so and keeps what it has; with room again everything is stored once."""
    folder = lab.path("small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], check=True)
    try:
        hub = lab.hub(data_dir=folder)
        capture = many_flows(lab.path("many.pcap"))
        filler = os.path.join(folder, "filler")
        room = os.statvfs(folder)
        with open(filler, "wb") as file:
            file.write(bytes(room.f_bavail * room.f_frsize - 64 * 1024))
        probe = lab.probe("-i", capture, "--exit-timeout", "90", *hub.options_for_probe())
        wait_for("the hub says that the disk is full",
                 lambda: hub.get("/status")["store"]["state"] == "disk full", 30)
        check(not hub.get("/status")["store"]["ok"], "and that this is not well")
        same(hub.get("/interfaces/1")["state"], "problem", "state of the interface")
        same(hub.log().count("cannot be stored"), 1, "times it is said")
        check(probe.running(), f"the probe ended: {probe.log()[-1000:]}")
        room = os.statvfs(folder)
        with open(os.path.join(folder, "rest"), "wb") as file:
            file.write(bytes(room.f_bavail * room.f_frsize))
        for turn in range(100):  # what SQLite has room for already is soon used
            status, body = ask(hub, "POST", "/tokens", {"note": f"{turn}" * 20})
            if status != 200:
                break
        same(status, 503, "status of what cannot be kept")
        check("disk is full" in str(body), f"why is not said: {body}")
        os.unlink(os.path.join(folder, "rest"))
        os.unlink(filler)
        same(probe.wait(90), 0, "the probe ends with")
        same(hub.get("/status")["store"]["state"], "ready", "state")
        same_flows(hub.flows(), offline(lab, capture), "after there was room again")
        same(hub.get("/probes")[0]["flows_missing"], 0, "missing")
        same(hub.stop(), 0, "the hub ends with")
    finally:
        for program in lab.programs:
            program.kill()
        subprocess.run(["umount", folder], check=True)


def test_files_removed(lab):
    """The store, or the settings, removed under a running hub: it ends and says so, nothing that only a removed
    file has is told as stored."""
    for first, name in enumerate(("store", "weir.sqlite")):
        hub = lab.hub(name=f"hub-{first}")
        feed = Feed(lab, 0, *hub.options_for_probe(), name=f"site-{first}")
        feed.flows(1000)  # the second half ends with what comes after it
        wait_for("flows are stored", lambda: hub.get("/status")["store"]["flows"] >= 500, 30)
        path = os.path.join(hub.data_dir, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        feed.flows(3000)
        wait_for("the hub ends", lambda: not hub.running(), 10)
        check(f"/{name}" in hub.log() and "was removed" in hub.log(), f"{name} is not named: {hub.log()[-500:]}")
        hub.again()
        feed.end()
        same(feed.probe.wait(60), 0, "the probe ends with")
        got = numbers(hub.flows())
        check(all(got[n] == 1 for n in range(500, 4000)), f"{name}: {sum(got.values())} flows, not each of 3500 once")


main([test_disk_full, test_files_removed, test_hub_killed, test_hub_stopped, test_probe_killed])
