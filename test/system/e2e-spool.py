#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""A capture file with more flows than the spool holds. While the hub is away the file waits; what a
full spool lets go all the same is said, and is no success."""
import os
import random
import re
import signal
import socket
import struct
import time

from _e2e import PROBE, check, free_ports, main, offline, same, wait_for

FLOWS = 120000  # random addresses do not compress: twice the smallest spool


def capture(lab):
    draw = random.Random(1)
    path = lab.path("many.pcap")
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        for i in range(FLOWS):
            udp = struct.pack(">HHHH", draw.randrange(1024, 65536), 9, 8, 0)
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 28, 0, 0, 64, 17, 0) + draw.randbytes(8)
            file.write(struct.pack("<IIII", 1700000000, i, 28, 28) + ip + udp)
    return path


def start(lab, path, port, key, timeout_s):
    return lab.probe("-i", path, "--no-dpi", "--spool-size", "1M", "--exit-timeout", str(timeout_s),
                     "--ntopng", f"tcp://127.0.0.1:{port}", "--zmq-probe-mode",
                     "--zmq-encryption-key", key)


def test_hub_comes_later(lab):
    hub = lab.hub()
    key, path = hub.key(), capture(lab)
    same(len(offline(lab, path)), FLOWS, "flows of the capture")
    hub.stop()
    probe = start(lab, path, hub.port, key, 60)
    time.sleep(3)
    check(probe.running(), f"the probe waits: {probe.log()[-1500:]}")
    hub.again()
    same(probe.wait(60), 0, "the probe ends with")
    same(hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"], FLOWS, "flows stored")


def test_no_hub(lab):
    key, path = lab.hub().key(), capture(lab)
    probe = start(lab, path, free_ports(2), key, 2)
    same(probe.wait(60), 3, "the probe ends with")
    left = re.findall(r"(\d+) flows left", probe.log())
    gone = re.findall(r"(\d+) flows were let go", probe.log())
    check(left and gone, f"what is left and what is gone is said: {probe.log()[-1500:]}")
    same(int(left[-1]) + int(gone[-1]), FLOWS, "flows left and gone")


def test_signals(lab):
    """One wish to stop that comes twice at once, as from timeout(1), is one; a second ends it."""
    hub = lab.hub()
    key = hub.key()
    hub.kill()
    probe = lab.probe("-i", "lo", "--no-dpi", "--spool-size", "0", "--exit-timeout", "60", "--ntopng",
                      f"tcp://127.0.0.1:{hub.port}", "--zmq-probe-mode",
                      "--zmq-encryption-key", key)
    wait_for("it meters", lambda: "not reach" in probe.log() or "refused" in probe.log())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"weir", ("127.0.0.1", 9))
    time.sleep(1)
    for _ in range(2):
        probe.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    time.sleep(3)
    check(probe.running(), f"it waits for the hub: {probe.log()[-1500:]}")
    probe.process.send_signal(signal.SIGTERM)
    same(probe.wait(10), 3, "the probe ends with")
    check("told to stop" in probe.log(), probe.log()[-1500:])


def test_new_key(lab):
    """A state folder whose key was deleted, and not its spool: what the hub has of it under the old
    key it does not store again, and the sum of the new one adds up."""
    hub = lab.hub()
    folder = lab.path("state")
    options = ("-i", "lo", "-f", "udp and dst port 9", "-d", "1", "--no-dpi", "--data-dir", folder,
               "--ntopng", f"tcp://127.0.0.1:{hub.port}", "--zmq-probe-mode",
               "--zmq-encryption-key", hub.key())

    def stored():
        return hub.get("/flows", from_=0, to=2 ** 43, limit=1)["total"]

    def send(n):
        for _ in range(n):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"weir", ("127.0.0.1", 9))

    probe = lab.start("first", PROBE, *options)
    wait_for("it is there", lambda: "connected" in probe.log())
    time.sleep(1)
    send(50)
    wait_for("50 flows", lambda: stored() == 50, 30)
    probe.kill()
    check(not os.path.exists(os.path.join(folder, "spool", "cursors")), "it was noted already")
    for name in os.listdir(folder):
        if name.startswith("zmq-key"):
            os.unlink(os.path.join(folder, name))
    probe = lab.start("second", PROBE, *options)
    wait_for("it is there again", lambda: "flows are delivered" in probe.log())
    time.sleep(1)
    send(30)
    wait_for("30 more", lambda: stored() >= 80, 30)
    time.sleep(12)
    same(stored(), 80, "flows stored")
    rows = {row["connected"]: row for row in hub.get("/probes")}
    same(len(rows), 2, "probes")
    same(rows[True]["flows_stored"], 30, "of the new key")
    same(rows[True]["flows_missing"], 0, "missing")
    same(rows[True]["ledger"]["state"], "balanced", "its sum")


main([test_new_key, test_hub_comes_later, test_no_hub, test_signals])
