#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""What a hub sets of a probe on a live link: filter, sampling, timeouts, fields; what the probe
refuses, and why; restarts of either side, and of both apart."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

from _e2e import SLOW, check, in_namespace, main, same, wait_for

ADDRESS = "192.168.2.134"

# sends to each of these ports in turn, so many packets in all, at a pace
SEND = """
import socket, struct, sys, time
ports, n, pace = [int(p) for p in sys.argv[1].split(",")], int(sys.argv[2]), float(sys.argv[3])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("wire", 0))
for i in range(n):
    udp = struct.pack(">HHHH", 4000, ports[i % len(ports)], 8 + 16, 0) + b"weir" * 4
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), i & 0xffff, 0, 64, 17, 0,
                       bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~total & 0xffff) + head[12:]
    out.send(b"\\x02\\0\\0\\0\\0\\x01\\x02\\0\\0\\0\\0\\x02\\x08\\0" + head + udp)
    if pace:
        time.sleep(pace)
"""


def sender(namespace, ports, n, pace=0.0005):
    return subprocess.Popen(in_namespace(namespace, [
        sys.executable, "-c", SEND, ",".join(map(str, ports)), str(n), str(pace)]))


def send(namespace, ports, n):
    same(sender(namespace, ports, n).wait(60), 0, "the sender ends with")


def ask(hub, method, path, body=None):
    """Status and JSON; the hub is in a namespace of its own."""
    command = ["curl", "-s", "-m", "30", "-X", method, "-w", "\n%{http_code}",
               f"http://127.0.0.1:{hub.web_port}/api/v1{path}"]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    run = subprocess.run(in_namespace(hub.namespace, command), capture_output=True, check=True)
    answer, _, status = run.stdout.rpartition(b"\n")
    return int(status), json.loads(answer)


def path_of(hub):
    return f"/probes/{urllib.parse.quote(hub.get('/probes')[0]['key'], safe='')}/configuration"


def put(hub, path, **settings):
    status, answer = ask(hub, "PUT", path, settings)
    check(status == 200, f"PUT {path}: {status} {answer}")
    return answer


def standing(hub, path, state, version=None, limit_s=10):
    def stands():
        now = hub.get(path)
        return now["state"] == state and version in (None, now["version"]) and now
    return wait_for(f"configuration {version} is {state}", stands, limit_s)


def unconfirmed(hub):
    status, body = hub.fetch("/metrics")
    same(status, 200, "metrics")
    found = re.search(r"^weir_probe_configuration_unconfirmed\{.*\} (\d)$", body.decode(), re.M)
    check(found, "weir_probe_configuration_unconfirmed is not there")
    return int(found[1])


def packets(hub, port):
    return sum(f["packets"] + f["rev_packets"] for f in hub.flows(f"dst_port = {port}"))


class Site:
    """A hub, and a probe at eno1, whose other end sends."""

    def __init__(self, lab, *options):
        self.lab = lab
        self.hub_ns, self.ns, self.wire = lab.namespace(), lab.namespace(), lab.namespace()
        lab.cable((self.hub_ns, "eth0", f"{ADDRESS}/24"), (self.ns, "uplink", "192.168.2.7/24"))
        lab.cable((self.ns, "eno1", None), (self.wire, "wire", None))
        self.hub = lab.hub(namespace=self.hub_ns, interfaces=["-i", f"tcp://{ADDRESS}:5556c"])
        self.to_hub = ["--ntopng", f"tcp://{ADDRESS}:5556", "--zmq-probe-mode",
                       "--zmq-encryption-key", self.hub.get("/interfaces/1")["key_string"]]
        self.counters, self.starts = lab.path("counters"), 0
        self.start(*options)
        self.connected()
        self.path = path_of(self.hub)

    def start(self, *options):
        self.probe = self.lab.probe("-i", "eno1", *self.to_hub,
                                    "--counters", self.counters, *options,
                                    namespace=self.ns, name="site",
                                    data_dir=self.lab.path("state"))

    def connected(self):
        """This run of it has reported; what the hub knows may still be of the run before."""
        self.starts += 1
        wait_for("the probe delivers", lambda: self.probe.log().count("flows are delivered") ==
                 self.starts)
        wait_for("a report of the probe", lambda: self.hub.get("/probes") and
                 self.hub.get("/probes")[0]["connected"] and
                 self.hub.get(path_of(self.hub))["reported"])
        time.sleep(2 * SLOW)

    def meters(self):
        shown = subprocess.run(in_namespace(self.ns, ["ip", "-d", "link", "show", "eno1"]),
                               capture_output=True, text=True, check=True).stdout
        return "promiscuity 1" in shown

    def stop(self):
        same(self.probe.stop(), 0, "the probe ends with")
        with open(self.counters) as file:
            return {name: int(value) for name, value in
                    re.findall(r"^(weir_probe_\S+?)(?:_total)?(?:\{reason=\"(?!duplicate)[a-z_]*\"\})? (\d+)$",
                               file.read(), re.M) if "ignored" not in name}


def test_filter(lab):
    """Traffic outside of a new filter is no longer metered, that inside is, each packet of it."""
    site = Site(lab, "-d", "1")
    hub = site.hub
    now = hub.get(site.path)
    same((now["version"], now["state"], now["running"]["filter"]), (0, "none", ""), "at first")
    send(site.wire, [1000, 2000], 100)
    wait_for("flows of both ports", lambda: packets(hub, 1000) == 50 and packets(hub, 2000) == 50)

    began = time.monotonic()
    same(put(hub, site.path, filter="udp port 1000")["version"], 1, "version")
    now = standing(hub, site.path, "confirmed", 1)
    check(time.monotonic() - began < 4, f"confirmed after {time.monotonic() - began:.1f} s")
    same(now["running"]["filter"], "udp port 1000", "running")
    same(now["started_with"]["filter"], "", "started with")
    send(site.wire, [1000, 2000], 100)
    wait_for("port 1000 goes on", lambda: packets(hub, 1000) == 100)
    same(packets(hub, 2000), 50, "packets of port 2000")

    # filters change while packets come: none of those that all of them let through is lost
    stream = sender(site.wire, [1000], 6000)
    filters = ["udp", "udp dst port 1000", "host 10.0.0.2", "", "ip"]
    for i, text in enumerate(filters):
        put(hub, site.path, filter=text)
        standing(hub, site.path, "confirmed", 2 + i)
    same(stream.wait(60), 0, "the sender ends with")
    wait_for("all 6000", lambda: packets(hub, 1000) == 6100)
    same(put(hub, site.path, filter="ip")["version"], 6, "the same once more is no new version")
    check("filter 'udp port 1000' (was none)" in site.probe.log(), "the log says what changed")
    counts = site.stop()
    same(counts["weir_probe_packets_dropped"], 0, "dropped by the kernel")


def test_refused(lab):
    """What cannot be applied is refused with its reason; what was before goes on."""
    site = Site(lab, "-d", "1")
    hub = site.hub
    put(hub, site.path, filter="udp port 1000")
    standing(hub, site.path, "confirmed", 1)
    same(unconfirmed(hub), 0, "unconfirmed")

    put(hub, site.path, filter="udp prot 1000", idle_s=7)
    now = standing(hub, site.path, "refused", 2)
    check("'udp prot 1000' is not valid" in now["reason"], f"reason: {now['reason']}")
    check("'udp prot 1000' is not valid" in now["state_text"], f"text: {now['state_text']}")
    same((now["running"]["filter"], now["running"]["idle_s"]), ("udp port 1000", 1), "running")
    same(unconfirmed(hub), 1, "unconfirmed")
    row = hub.get("/probes")[0]["configuration"]
    same((row["version"], row["state"]), (2, "refused"), "in the list")
    check("refused" in site.probe.log(), "the probe's log")
    send(site.wire, [1000, 2000], 20)
    wait_for("the old filter works", lambda: packets(hub, 1000) == 10)
    same(packets(hub, 2000), 0, "packets of port 2000")

    # a hub knows some of it by itself
    for body, word in (({"filter": "(udp"}, "parenthesis"), ({"filter": "a\nb"}, "one line"),
                       ({"sampling": 0}, "sampling"), ({"idle_s": 86401}, "idle_s"),
                       ({"template": "none"}, "template"), ({"dpi": True}, "dpi"),
                       ({"active_s": "1"}, "active_s")):
        status, answer = ask(hub, "PUT", site.path, body)
        check(status == 400 and word in answer["error"]["message"], f"{body}: {status} {answer}")
    same(hub.get(site.path)["version"], 2, "version")
    status, _ = ask(hub, "PUT", "/probes/" + "x" * 40 + "/configuration", {"sampling": 2})
    same(status, 404, "of a probe that is not known")

    # after a restart it is what was before the refused one, and refused again
    site.stop()
    site.start("-d", "1")
    site.connected()
    now = standing(hub, site.path, "refused", 2)
    same(now["running"]["filter"], "udp port 1000", "running after a restart")

    put(hub, site.path, filter="udp port 2000")
    standing(hub, site.path, "confirmed", 3)
    same(unconfirmed(hub), 0, "unconfirmed")
    site.stop()

    # the operator of the probe may say no
    site.start("-d", "1", "--no-remote-config")
    now = standing(hub, site.path, "refused", 3)
    check("--no-remote-config" in now["reason"], f"reason: {now['reason']}")
    same(now["running"]["filter"], "", "running")
    site.stop()


def test_restarts(lab):
    """The hub's word outlives hub and probe, each without the other."""
    site = Site(lab, "-d", "1", "-f", "udp port 3000")
    hub = site.hub
    put(hub, "/configuration", idle_s=2)
    standing(hub, site.path, "confirmed", 1)
    put(hub, site.path, filter="udp port 1000")
    now = standing(hub, site.path, "confirmed", 2)
    same((now["running"]["filter"], now["running"]["idle_s"]), ("udp port 1000", 2), "running")
    same(now["started_with"]["filter"], "udp port 3000", "started with")

    hub.stop()
    site.stop()
    site.start("-d", "1", "-f", "udp port 3000")  # no hub
    wait_for("the probe meters", site.meters)
    send(site.wire, [1000, 2000, 3000], 30)
    hub.again()
    site.connected()
    now = standing(hub, site.path, "confirmed", 2)
    same(now["changed_by"], "local", "changed by")  # nobody has to log in
    wait_for("what was metered without a hub", lambda: packets(hub, 1000) == 10)
    same((packets(hub, 2000), packets(hub, 3000)), (0, 0), "packets outside of the filter")

    # set while the probe is away
    site.stop()
    wait_for("the probe is gone", lambda: not hub.get("/probes")[0]["connected"])
    put(hub, site.path)
    now = standing(hub, site.path, "waiting", 3)
    check("waits for the probe" in now["state_text"], now["state_text"])
    same(unconfirmed(hub), 1, "unconfirmed")
    site.start("-d", "1", "-f", "udp port 3000")
    site.connected()
    now = standing(hub, site.path, "confirmed", 3)
    same((now["running"]["filter"], now["running"]["idle_s"]), ("udp port 3000", 2),
         "running: nothing is set of this one, for all still")
    put(hub, "/configuration")
    now = standing(hub, site.path, "confirmed", 4)
    same(now["running"]["idle_s"], 1, "as started")
    site.stop()

    # a damaged file is as good as none
    with open(os.path.join(lab.path("state"), "configuration.json"), "w") as file:
        file.write('{"version":4,"fil')
    site.start("-d", "1", "-f", "udp port 3000")
    site.connected()
    standing(hub, site.path, "confirmed", 4)
    check("configuration.json" in site.probe.log(), "the log names the damaged file")
    site.stop()


def test_sampling_timeouts_template(lab):
    """One of ten packets with the rate in its flow; sums still add up; timeouts act on flows that
    live; fields are left out."""
    site = Site(lab, "-d", "300", "-t", "3600")
    hub = site.hub
    send(site.wire, [1000], 400)
    time.sleep(0.5)
    same(hub.flows(), [], "flows before their time")
    put(hub, site.path, sampling=10)
    standing(hub, site.path, "confirmed", 1)
    send(site.wire, [1000], 2000)
    put(hub, site.path, sampling=10, idle_s=1, template="v9")
    standing(hub, site.path, "confirmed", 2)
    flows = wait_for("the flow ends by the new timeout", lambda: len(hub.flows()) == 2 and
                     hub.flows(), 15)
    by_rate = {f.get("sampling", 0): f for f in flows}
    same(sorted(by_rate), [0, 10], "rates")
    same(by_rate[0]["packets"], 400, "packets before")
    same(by_rate[10]["packets"], 200, "packets of 2000, one of ten")
    same(by_rate[0]["flow_id"], by_rate[10]["flow_id"], "flow id")
    check("src_mac" in by_rate[0] and "src_mac" not in by_rate[10], "fields")

    counts = site.stop()
    same(counts["weir_probe_packets_received"], 2400, "received")
    same(counts["weir_probe_packets_skipped"], 1800, "skipped")
    same(counts["weir_probe_packets_metered"], 600, "metered")
    same(counts["weir_probe_packets_exported"], 600, "exported")


def test_two_hubs(lab):
    """With several hubs the first one named sets; the other is told why its word does not count."""
    first, second = lab.hub(), lab.hub()
    # one key for both: the second has the first one's pair
    second.kill()
    for name in ("zmq-key.pub", "zmq-key.priv"):
        shutil.copy(os.path.join(first.data_dir, name), os.path.join(second.data_dir, name))
    second.again()
    ends = [f"tcp://127.0.0.1:{hub.port + i}" for i in range(2) for hub in (first, second)]
    lab.probe("-i", "lo", "--ntopng", ends[0], "--ntopng", ends[1], "--zmq-publish-events", ends[2],
              "--zmq-publish-events", ends[3], "--zmq-probe-mode", "--zmq-encryption-key",
              first.get("/interfaces/1")["key_string"], name="both")
    for hub in (first, second):
        wait_for("a report", lambda hub=hub: hub.get("/probes") and
                 hub.get(path_of(hub))["reported"])
    put(second, path_of(second), idle_s=9)
    put(first, path_of(first), idle_s=3)
    standing(first, path_of(first), "confirmed", 1)
    now = standing(second, path_of(second), "waiting", 1)
    check("several hubs" in now["state_text"], now["state_text"])
    same(now["running"]["idle_s"], 3, "running")


main([test_filter, test_refused, test_restarts, test_sampling_timeouts_template,
      test_two_hubs])
