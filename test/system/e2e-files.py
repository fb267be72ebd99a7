#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Captures from probe to hub to REST: every flow and every sum as weir-probe --json writes them."""
import os

from _e2e import (captures, check, free_ports, main, offline, same, same_flows, totals, wait_for)


def deliver(lab, hub, capture, *options, name):
    """One probe of its own over one capture; the flows the hub has of it, and those expected."""
    probe = lab.probe("-i", capture, "--probe-name", name, *options, name=name)
    same(probe.wait(60), 0, f"{name} ends with")
    row = wait_for(f"the hub knows {name}", lambda: hub.probe(name=name))
    return hub.flows(f"probe = {row['id']}"), offline(lab, capture)


def test_hub_listens(lab):
    hub = lab.hub()
    seen = 0
    for capture in captures():
        name = os.path.basename(capture)
        got, expected = deliver(lab, hub, capture, *hub.options_for_probe(), name=name)
        same_flows(got, expected, name)
        same(totals(got), totals(expected), name)
        row = hub.probe(name=name)
        same(row["flows_stored"], len(expected), f"flows stored of {name}")
        same(row["flows_missing"], 0, f"flows missing of {name}")
        seen += len(expected)
    check(seen > 0, "the captures hold no flow at all")
    same(hub.get("/interfaces/1")["flows"], seen, "flows of the interface")
    # and nothing of it is gone after a clean restart
    before = hub.flows()
    same(hub.stop(), 0, "the hub ends with")
    hub.again()
    same_flows(hub.flows(), before, "after a restart")


def test_hub_connects(lab):
    port = free_ports(2)
    hub = lab.hub(interfaces=["-i", f"tcp://127.0.0.1:{port}"])
    same(hub.get("/interfaces/1")["mode"], "connect", "mode")
    capture = [c for c in captures() if c.endswith("tcp.pcap")][0]
    got, expected = deliver(lab, hub, capture, "--ntopng", f"tcp://127.0.0.1:{port}",
                            "--zmq-encryption-key", hub.key(), name="binder")
    same_flows(got, expected, "tcp.pcap")


def test_two_interfaces(lab):
    """One key for all, each its own interface; flows say where they came in."""
    first, second = free_ports(2), free_ports(2)
    hub = lab.hub(interfaces=["-i", f"tcp://127.0.0.1:{first}c,tcp://127.0.0.1:{second}c",
                              "--zmq-publish-events",
                              f"tcp://127.0.0.1:{first + 1},tcp://127.0.0.1:{second + 1}"])
    capture = [c for c in captures() if c.endswith("udp.pcap")][0]
    same(hub.get("/interfaces/1")["public_key"], hub.get("/interfaces/2")["public_key"], "keys")
    for interface in (1, 2):
        name = f"at{interface}"
        got, expected = deliver(lab, hub, capture, *hub.options_for_probe(interface), name=name)
        same_flows(got, expected, name)
        same({flow["interface"] for flow in got}, {interface}, "interface")
        same(hub.probe(name=name)["interface"], interface, "interface of the probe")


main([test_hub_listens, test_hub_connects, test_two_interfaces])
