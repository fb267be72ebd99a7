#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""Open vSwitch as an exporter, of the whole way to the hub's answers: NetFlow v5, IPFIX and sFlow of
packets whose number is known. The switch runs in a namespace of its own with the datapath that needs
no module of the kernel (netdev), with its files in the test's folder."""
import os
import shutil
import subprocess
import sys

from _accounts import account, sums
from _e2e import check, in_namespace, main, same, wait_for

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PACKETS, BYTES = 60, 200  # UDP payload; in IP 28 more
SENDER = """import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 4000))
for _ in range(int(sys.argv[4])):
    s.sendto(bytes(int(sys.argv[5])), (sys.argv[2], int(sys.argv[3])))
    time.sleep(0.01)
"""


class Switch:
    """Two hosts, a switch between them, and beside it a hub and a probe."""

    def __init__(self, lab):
        self.lab = lab
        self.space, self.hosts = lab.namespace(), [lab.namespace(), lab.namespace()]
        for i, host in enumerate(self.hosts):
            lab.cable((host, f"h{i}", f"10.77.0.{i + 1}/24"), (self.space, f"s{i}", None))
        self.folder = lab.path("ovs")
        os.mkdir(self.folder)
        database = os.path.join(self.folder, "conf.db")
        subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True, capture_output=True)
        self.socket = f"unix:{self.folder}/db.sock"
        self.start("ovsdb-server", database, f"--remote=p{self.socket}")
        wait_for("the switch's database", lambda: os.path.exists(f"{self.folder}/db.sock"))
        self.set("--no-wait", "init")
        self.start("ovs-vswitchd", self.socket)
        self.set("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--",
                 "add-port", "br0", "s0", "--", "add-port", "br0", "s1")
        self.hub = lab.hub(namespace=self.space)
        self.probe = lab.probe("--collector-port", "127.0.0.1:2055", *self.hub.options_for_probe(),
                               namespace=self.space)
        wait_for("the probe", lambda: self.hub.probe(connected=True))
        run = lambda *command: subprocess.run(in_namespace(self.hosts[0], command), check=True,
                                              capture_output=True)
        wait_for("a way between the hosts", lambda: run("ping", "-c", "1", "-W", "1", "10.77.0.2"), 15)
        self.send(4999, 1)  # the addresses are known to both

    def start(self, name, *options):
        env = [f"{key}={self.folder}" for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")]
        return self.lab.start(name, "env", *env, name, *options, f"--pidfile={self.folder}/{name}.pid",
                              f"--unixctl={self.folder}/{name}.ctl", namespace=self.space)

    def set(self, *words):
        done = subprocess.run(["ovs-vsctl", f"--db={self.socket}", "--timeout=20", *words], capture_output=True, text=True)
        check(done.returncode == 0, f"ovs-vsctl {words}: {done.stderr}")

    def send(self, port, n=PACKETS):
        subprocess.run(in_namespace(self.hosts[0], [sys.executable, "-c", SENDER, "10.77.0.1", "10.77.0.2",
                                                    str(port), str(n), str(BYTES)]), check=True)

    def flows(self, port, n=PACKETS):
        """All of the packets to a port, as soon as the hub has them."""
        def look():
            found = self.hub.flows(f"dst_port = {port} and src_ip = 10.77.0.1")
            check(sum(f["packets"] for f in found) >= n, f"{[(f['packets'], f['octets']) for f in found]}")
            return found
        return wait_for(f"packets to port {port} in the hub", look, 30)


def test_open_vswitch(lab):
    if not shutil.which("ovs-vswitchd"):
        print("      Open vSwitch is not installed")
        return
    switch = Switch(lab)
    target = r'"127.0.0.1:2055"'

    switch.set("set", "bridge", "br0", "netflow=@n", "--", "--id=@n", "create", "NetFlow",
               f"targets={target}", "active_timeout=1", "engine_id=5", "engine_type=6")
    switch.send(5001)
    # by NetFlow it counts whole frames
    same(sums(switch.flows(5001)), (PACKETS, PACKETS * (BYTES + 28 + 14)), "packets and bytes by NetFlow")
    one = account(switch.hub, "NetFlow v5")
    same((one["lost"], one["malformed"], one["sent"]), (0, 0, one["decoded"]), "its account")
    switch.set("clear", "bridge", "br0", "netflow")

    switch.set("set", "bridge", "br0", "ipfix=@i", "--", "--id=@i", "create", "IPFIX", f"targets={target}",
               "sampling=1", "obs_domain_id=77", "cache_active_timeout=1", "cache_max_flows=100")
    switch.send(5002)
    flows = switch.flows(5002, 2 * PACKETS)  # a record where they come in, and one where they go out
    for leaves in (False, True):
        same(sums([f for f in flows if ("output_if" in f) == leaves]), (PACKETS, PACKETS * (BYTES + 28)),
             f"packets and bytes by IPFIX, as they {'leave' if leaves else 'come'}")
    same({f["observation_domain"] for f in flows}, {77}, "domain")
    one = account(switch.hub, "IPFIX")
    # it numbers over all its domains: its statistics, of domain 0, are missing in the other's numbers
    same((one["malformed"], one["held"], one["no_template"]), (0, 0, 0), "its account")
    check(one["templates"] > 0, "its templates")
    switch.set("clear", "bridge", "br0", "ipfix")

    switch.set("set", "bridge", "br0", "sflow=@s", "--", "--id=@s", "create", "sFlow", f"targets={target}",
               "agent=lo", "sampling=1", "header=128", "polling=1")
    switch.send(5003)
    flows = switch.flows(5003)
    same(sum(f["packets"] for f in flows), PACKETS, "packets by sFlow")
    same({f.get("sampling") for f in flows}, {1}, "sampling")
    one = account(switch.hub, "sFlow v5")
    same((one["lost"], one["malformed"]), (0, 0), "its account")
    counted = wait_for("counters of both ports", lambda: (lambda c: c if len(c) >= 2 else None)(
        [i for i in switch.hub.get(f"/exporters/{one['id']}")["by_interface"] if i["samples"] >= 2]), 20)
    indexes = {f["input_if"] for f in flows}
    check(indexes <= {i["index"] for i in counted}, f"flows come in by {indexes}, counters are of {counted}")
    wait_for("octets of the port where they came in", lambda: sum(step["in_octets"] for step in switch.hub.get(
        f"/exporters/{one['id']}/interfaces/{min(indexes)}", from_=0)["steps"]) > 0, 20)
    same(switch.probe.stop(), 0, "exit")


if __name__ == "__main__":
    main([test_open_vswitch])
