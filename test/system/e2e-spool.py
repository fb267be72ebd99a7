#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""A capture file with more flows than the spool holds. While the hub is away the file waits; what a
full spool lets go all the same is said, and is no success."""
import random
import re
import signal
import socket
import struct
import time

from _e2e import check, free_ports, main, offline, same, wait_for

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


main([test_hub_comes_later, test_no_hub, test_signals])
