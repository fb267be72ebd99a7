#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""Four workers on a wire while everything else happens as well: flows to a hub, to collectors and to a
file, settings that the hub changes, an interface that goes down and comes up, a worker's table that
is full. Packets in are packets out; and of a build with ThreadSanitizer (WEIR_BUILD=build-tsan, as
make check has it) not a word."""
import json
import os
import re
import subprocess
import time
import urllib.parse

import _e2e
from _e2e import BUILD, SOURCE, captures, check, in_namespace, main, same, wait_for

if not os.path.exists(_e2e.HUB):  # of the build for races there is the probe alone
    _e2e.HUB = os.path.join(SOURCE, "build", "weir-hub")
    _e2e.LICENSE = os.path.join(SOURCE, "build", "weir-license")


def put(hub, path, **settings):
    run = subprocess.run(in_namespace(hub.namespace, [
        "curl", "-s", "-m", "30", "-X", "PUT", "-H", "Content-Type: application/json", "-d", json.dumps(settings),
        f"http://127.0.0.1:{hub.web_port}/api/v1{path}"]), capture_output=True, check=True)
    answer = json.loads(run.stdout)
    check("version" in answer, f"PUT {path}: {answer}")


def replay(namespace, *names):
    for capture in captures():
        if os.path.basename(capture).split(".")[0] in names:
            subprocess.run(in_namespace(namespace, ["tcpreplay", "-q", "-i", "w0", "--pps", "4000", "--loop", "40",
                                                    "--unique-ip", capture]), capture_output=True, timeout=60)


def test_everything_at_once(lab):
    sender, taker = lab.namespace(), lab.namespace()
    lab.cable((sender, "w0", None), (taker, "t0", None))
    for namespace, name in ((sender, "w0"), (taker, "t0")):
        subprocess.run(["ip", "-n", namespace, "link", "set", name, "mtu", "9000"], check=True)
    hub = lab.hub(namespace=taker)
    out, counters = lab.path("flows.json"), lab.path("counters")
    probe = lab.probe("-i", "t0", "--workers", "4", "--max-flows", "400", "--max-dpi-flows", "64", "-t", "2", "-d", "1",
                      *hub.options_for_probe(), "-n", "127.0.0.1:9,tcp://127.0.0.1:9", "-V", "10", "--json", out,
                      "--counters", counters, "--license", lab.path("none"), namespace=taker)
    wait_for("the probe is connected", lambda: hub.get("/interfaces/1")["probes_connected"] == 1)
    path = f"/probes/{urllib.parse.quote(hub.get('/probes')[0]['key'], safe='')}/configuration"
    time.sleep(1)
    replay(sender, "tcp", "udp", "tls", "vlan", "tunnels")
    for settings in ({"filter": "udp", "sampling": 3, "idle_s": 2}, {"active_s": 5, "template": "v9"}, {}):
        put(hub, path, **settings)
        replay(sender, "udp", "ipv6", "tcp")
    subprocess.run(["ip", "-n", taker, "link", "set", "t0", "down"], check=True)
    wait_for("it is told", lambda: "the interface is down" in probe.log())
    subprocess.run(["ip", "-n", taker, "link", "set", "t0", "up"], check=True)
    wait_for("it is back", lambda: "the interface is up" in probe.log())
    time.sleep(0.5)
    replay(sender, "fragments", "icmp", "sctp", "udp")
    time.sleep(1)
    same(probe.stop(), 0, f"exit code of {BUILD}/weir-probe")
    with open(counters) as file:
        text = file.read()

    def counted(name):
        return sum(int(v) for v in re.findall(rf"^weir_probe_{name}_total(?:{{[^}}]*}})? (\d+)$", text, re.M))
    with open(out) as file:
        flows = [json.loads(line) for line in file]
    said = sum(flow["packets"] + flow["rev_packets"] for flow in flows)
    same(counted("packets_received"), sum(counted(f"packets_{way}") for way in ("ignored", "skipped")) + said,
         "packets received, and those ignored, skipped and in records")
    check(counted("packets_received") > 3000, f"{counted('packets_received')} packets received")
    check(counted("packets_skipped") > 0, "the hub's sampling took effect")
    check(len(flows) > 400, f"{len(flows)} records")
    at_hub = wait_for("all at the hub", lambda: len(hub.flows()) == len(flows) and hub.flows(), 30)
    same(sum(f["packets"] + f["rev_packets"] for f in at_hub),
         sum(f["packets"] + f["rev_packets"] for f in flows), "packets at the hub")


if __name__ == "__main__":
    main([test_everything_at_once])
