# SPDX-License-Identifier: Apache-2.0
"""Flows that are told apart by their sources, fed to probes as files or as they come, and requests
that change something at a hub."""
import json
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from _e2e import check, same, wait_for
from _feed import ETHERNET, Piped, capture_header


def ask(hub, method, path, body=None, **headers):
    """Status and JSON of a request that may change something."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{hub.web_port}/api/v1{path}", data, {
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()}}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def do(hub, method, path, body=None):
    status, answer = ask(hub, method, path, body)
    check(status == 200, f"{method} {path}: {status} {answer}")
    return answer


def probe_path(row, action=""):
    return f"/probes/{urllib.parse.quote(row['key'], safe='')}{action}"


def packet(i):
    """A UDP packet that is a flow of its own."""
    payload = b"weir" * 4
    udp = struct.pack(">HHHH", 1024 + i % 50000, 9, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i & 0xffff, 0, 64, 17, 0,
                       bytes((10, i >> 16 & 255, i >> 8 & 255, i & 255)), bytes((10, 200, 0, 1)))
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~total & 0xffff) + head[12:]
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00" + head + udp


def record(i, second):
    frame = packet(i)
    return struct.pack("<IIII", second, i % 1000000, len(frame), len(frame)) + frame


def capture(path, n, base=0):
    with open(path, "wb") as file:
        file.write(capture_header(ETHERNET))
        for i in range(base, base + n):
            file.write(record(i, 1700000000))
    return path


class Stream(Piped):
    """Flows all the time: each packet is one, which ends soon, as the capture's clock runs fast."""

    def __init__(self, lab, name, options, base, data_dir=None, block=100):
        super().__init__(lab, ETHERNET, "--exit-timeout", "90", *options, name=name, data_dir=data_dir)
        self.block = block  # so many each quarter of a second
        self.sent, self.base, self.stopped = 0, base, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        second = 1700000000
        try:
            while not self.stopped:
                self.write(b"".join(record(self.base + self.sent + k, second)
                                    for k in range(self.block)))
                self.sent += self.block
                second += 30
                time.sleep(0.25)
            self.pipe.close()
        except OSError:
            pass

    def end(self):
        """No more packets; all is delivered."""
        self.stopped = True
        self.thread.join()
        same(self.probe.wait(120), 0, f"{self.probe.name} ends with")

    def sources(self):
        """What was sent, as the flows tell their sources."""
        return {(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", 1024 + i % 50000)
                for i in range(self.base, self.base + self.sent)}


def sources(flows):
    return sorted((f["src_ip"], f["src_port"]) for f in flows)


def same_sources(hub, expected, what):
    got = sources(hub.flows())
    check(len(got) == len(set(got)), f"{what}: {len(got) - len(set(got))} flows are there twice")
    same((len(got), set(got) - expected, expected - set(got)), (len(expected), set(), set()), what)


def one(hub, **members):
    return wait_for(f"a probe with {members}", lambda: hub.probe(**members))
