# SPDX-License-Identifier: Apache-2.0
"""Packets on a wire between two namespaces, as fast as this machine makes them: who takes them all?"""
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from common import BUILD, cpu_of, tool

EXPORT_PORT = 9995  # inside the namespace


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def wire():
    """Namespaces (sender, taker) with interfaces wire and mirror, and nothing else on the cable."""
    names = [f"weir-bench-{os.getpid()}-{side}" for side in "st"]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", "wire", "type", "veth", "peer", "name", "mirror", "netns", names[1])
        for name, end in zip(names, ("wire", "mirror")):
            ip("-n", name, "link", "set", end, "addrgenmode", "none", "up")
        subprocess.run(["ip", "netns", "exec", names[1], "ethtool", "-K", "mirror", "gro", "on"], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Nobody:
    """What the sender makes when nobody listens."""
    name = "nobody"

    def command(self, folder):
        return ["sleep", "1000"]

    def ready(self, namespace):
        return True

    def received(self, end):
        end()
        return None


class Softflowd:
    name = "softflowd 1.1, no DPI"

    def command(self, folder):
        self.control = f"{folder}/ctl"
        return ["softflowd", "-d", "-i", "mirror", "-v", "9", "-m", "2000000", "-n", f"127.0.0.1:{EXPORT_PORT}",
                "-p", f"{folder}/pid", "-c", self.control]

    def ready(self, namespace):
        return os.path.exists(self.control)

    def received(self, end):
        # the number of packets until now; it ends with a line of the same
        text = subprocess.run(["softflowctl", "-c", self.control, "statistics"], capture_output=True,
                              text=True).stdout
        end()
        found = re.search(r"Packets processed: (\d+)", text)
        return int(found[1]) if found else 0


class Weir:
    def __init__(self, name, *options):
        self.name, self.options = name, options

    def command(self, folder):
        self.counters = f"{folder}/counters"
        return [os.path.join(BUILD, "weir-probe"), "-i", "mirror", "-n", f"127.0.0.1:{EXPORT_PORT}", "--data-dir",
                f"{folder}/data", "--counters", self.counters, "--max-flows", "2000000",
                "--dont-drop-privileges", *self.options]

    def ready(self, namespace):
        rings = subprocess.run(["ip", "netns", "exec", namespace, "cat", "/proc/net/packet"],
                               capture_output=True, text=True).stdout
        return rings.count(" 0003 ") > 0

    def received(self, end):
        end()
        with open(self.counters) as file:
            found = re.search(r"^weir_probe_packets_received_total (\d+)$", file.read(), re.M)
        return int(found[1])


def cores():
    """What the sender and the wire run on, and what is for the receiver, where there are two."""
    mine = sorted(os.sched_getaffinity(0))
    return ([str(mine[0])], [str(n) for n in mine[1:]]) if len(mine) > 1 else (["0"], ["0"])


def arrived(namespace):
    text = subprocess.run(["ip", "-j", "-s", "-n", namespace, "link", "show", "mirror"], capture_output=True,
                          check=True, text=True).stdout
    return json.loads(text)[0]["stats64"]["rx"]["packets"]


def one_run(namespaces, receiver, flows, seconds, pace):
    """(packets that came to the interface, received, seconds of sending, CPU seconds of the receiver until all was taken)"""
    sender, taker = namespaces
    folder = tempfile.mkdtemp(prefix="weir-bench-")
    for_sender, for_taker = cores()
    child = subprocess.Popen(["taskset", "-c", ",".join(for_taker), "ip", "netns", "exec", taker,
                              *receiver.command(folder)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if receiver.ready(taker):
                break
            time.sleep(0.05)
        time.sleep(0.7)  # tables are made and touched
        before, packets = cpu_of(child.pid), arrived(taker)
        out = subprocess.run(["taskset", "-c", ",".join(for_sender), "ip", "netns", "exec", sender, tool("blast"), "wire",
                              str(flows), str(seconds), str(pace)], stdout=subprocess.PIPE, check=True)
        packets = arrived(taker) - packets
        time.sleep(1.5)  # what is in the ring is taken
        cpu = cpu_of(child.pid) - before

        def end():
            child.send_signal(signal.SIGTERM)
            child.wait(120)
        received = receiver.received(end)
        return packets, packets if received is None else received, json.loads(out.stdout)["seconds"], cpu
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def bench_live(args):
    # of a million packets one is metered: what the wire and the ring can do
    receivers = [Nobody(), Weir("a ring that is only read", "--no-dpi", "-S", "1000000"), Softflowd(),
                 Weir("weir-probe, no DPI", "--no-dpi"),
                 Weir("weir-probe, no DPI, 2 workers", "--no-dpi", "--workers", "2"),
                 Weir("weir-probe, nDPI")]
    results = {receiver.name: [] for receiver in receivers}
    for _ in range(args.live_runs):
        for receiver in receivers:
            with wire() as namespaces:
                results[receiver.name].append(
                    one_run(namespaces, receiver, args.live_flows, args.seconds, args.rate))
    print(f"\nLive over veth, {args.live_flows:,} flows of 60 bytes, {args.seconds:g} s, "
          f"{'as fast as it goes' if not args.rate else f'{args.rate:,.0f} packets/s'}, median of "
          f"{args.live_runs} interleaved runs:\n")
    print("| program | offered Mpps | taken Mpps | lost | worst run | CPU ns a packet taken |\n|---|---|---|---|---|---|")
    for name, runs in results.items():
        middle = [statistics.median(column) for column in zip(*[
            (sent / seconds / 1e6, got / seconds / 1e6, 1 - got / sent, cpu / max(got, 1) * 1e9)
            for sent, got, seconds, cpu in runs])]
        worst = max(1 - got / sent for sent, got, _, _ in runs)
        print("| {} | {:.2f} | {:.2f} | {:.1%} | {:.1%} | {:.0f} |".format(name, *middle[:3], worst,
                                                                          middle[3]))
