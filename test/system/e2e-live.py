#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Real packets on a wire between network namespaces: the two command lines of the README as they
are written there, live rates within seconds, a probe started from the sample configuration."""
import json
import subprocess
import time

from _e2e import HUB, captures, check, in_namespace, main, offline, same, wait_for

ADDRESS = "192.168.2.134"


def site(lab):
    """The hub's namespace at 192.168.2.134, and a site with eno1, whose other end sends."""
    hub_ns, site_ns, sender_ns = lab.namespace(), lab.namespace(), lab.namespace()
    lab.cable((hub_ns, "eth0", f"{ADDRESS}/24"), (site_ns, "uplink", "192.168.2.7/24"))
    lab.cable((site_ns, "eno1", None), (sender_ns, "wire", None))
    return hub_ns, site_ns, sender_ns


def start_hub(lab, namespace, *options):
    """weir-hub as the README has it; only the data directory and the login are the test's."""
    return lab.hub(*options, namespace=namespace, interfaces=[
        "-i", f"tcp://{ADDRESS}:5556c", "--zmq-publish-events", f"tcp://{ADDRESS}:5557"])


def replay(namespace, capture, *options):
    run = subprocess.run(in_namespace(namespace, ["tcpreplay", "-q", "-i", "wire", *options,
                                                  capture]), capture_output=True, text=True,
                         timeout=60)
    check(run.returncode == 0, f"tcpreplay: {run.stderr[-500:]}")


def by_key(flows):
    """Sums by conversation: a live probe may cut a flow where a file's reader does not."""
    sums = {}
    for flow in flows:
        key = tuple(flow.get(n, 0) for n in ("src_ip", "dst_ip", "src_port", "dst_port",
                                             "protocol", "vlan"))
        entry = sums.setdefault(key, [0, 0, 0, 0])
        for i, name in enumerate(("packets", "rev_packets", "octets", "rev_octets")):
            entry[i] += flow[name]
    return sums


def key_string(hub):
    return hub.get("/interfaces/1")["key_string"]


def test_two_command_lines(lab):
    hub_ns, site_ns, sender_ns = site(lab)
    hub = start_hub(lab, hub_ns)
    probe = lab.probe("-i", "eno1", "--ntopng", f"tcp://{ADDRESS}:5556", "--zmq-publish-events",
                      f"tcp://{ADDRESS}:5557", "--zmq-probe-mode", "--zmq-encryption-key",
                      key_string(hub), namespace=site_ns, name="site")
    wait_for("the probe is connected", lambda: hub.get("/probes") and
             hub.get("/probes")[0]["connected"])
    same(hub.get("/interfaces/1")["probes_connected"], 1, "probes")

    sent = time.monotonic()
    capture = [c for c in captures() if c.endswith("/tcp.pcap")][0]
    replay(sender_ns, capture, "--pps", "2000")
    tick = wait_for("packets in a live tick",
                    lambda: [t for t in hub.get("/live")["ticks"] if t["packets"]], 10)[0]
    check(time.monotonic() - sent < 6, f"packet to live tick took {time.monotonic() - sent:.1f} s")
    check(tick["hosts"] and tick["conversations"], f"the tick names nobody: {tick}")

    same(probe.stop(), 0, "the probe ends with")
    got, expected = hub.flows(), offline(lab, capture)
    same(by_key(got), by_key(expected), "conversations")
    wait_for("the hub sees the probe go", lambda: not hub.get("/probes")[0]["connected"])
    row = hub.get("/probes")[0]
    same(row["flows_missing"], 0, "missing")
    check(row["address"] == "192.168.2.7", f"address of the probe: {row['address']}")


def test_sample_config(lab):
    """The downloaded file works with weir-probe FILE once the interface name is set."""
    hub_ns, site_ns, sender_ns = site(lab)
    hub = start_hub(lab, hub_ns)
    status, body = hub.fetch("/api/v1/interfaces/1/sample-config")
    same(status, 200, "sample configuration")
    text = body.decode()
    same(text.count("-i=<interface>"), 1, "places for the interface's name")
    printed = subprocess.run([HUB, "-i", f"tcp://{ADDRESS}:5556c", "--data-dir", hub.data_dir,
                              "--print-sample-config"], capture_output=True, text=True)
    same(printed.stdout, text, "--print-sample-config")
    path = lab.path("weir-probe.conf")
    with open(path, "w") as file:
        file.write(text.replace("<interface>", "eno1"))
    probe = lab.probe(path, namespace=site_ns, name="configured")
    wait_for("the probe is connected", lambda: hub.get("/interfaces/1")["probes_connected"] == 1)
    capture = [c for c in captures() if c.endswith("/udp.pcap")][0]
    replay(sender_ns, capture, "--pps", "2000")
    time.sleep(1)
    same(probe.stop(), 0, "the probe ends with")
    same(by_key(hub.flows()), by_key(offline(lab, capture)), "conversations")


def test_events(lab):
    """Ticks, flows and probes come by themselves to who listens."""
    hub_ns, site_ns, sender_ns = site(lab)
    hub = start_hub(lab, hub_ns)
    listener = lab.start("listener", "curl", "-sN", "http://127.0.0.1:3000/api/v1/live/events",
                         namespace=hub_ns)
    probe = lab.probe("-i", "eno1", *hub.options_for_probe(), "-d", "1", namespace=site_ns,
                      name="site")
    wait_for("the probe is connected", lambda: hub.get("/interfaces/1")["probes_connected"] == 1)
    replay(sender_ns, [c for c in captures() if c.endswith("/udp.pcap")][0], "--pps", "2000")

    def heard():
        events = {}
        for block in listener.log().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line
                         and not line.startswith(":"))
            if "event" in lines:
                events.setdefault(lines["event"], []).append(json.loads(lines["data"]))
        ticks = sum(t["packets"] for t in events.get("tick", []))
        probes = [p for list_ in events.get("probes", []) for p in list_ if p["connected"]]
        return ticks and probes and events.get("flows") and events
    events = wait_for("tick, flows and probes", heard, 20)
    seconds = [t["time_ms"] for t in events["tick"]]
    same(sorted(set(seconds)), seconds, "seconds, each once and in order")
    check(all(isinstance(f, dict) and "src_ip" in f for l in events["flows"] for f in l), "flows")
    probe.stop()


main([test_two_command_lines, test_sample_config, test_events])
