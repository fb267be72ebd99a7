# SPDX-License-Identifier: Apache-2.0
"""The metering part of bench/run: weir-probe beside its peers on captures, as they are used.

Everybody sends NetFlow v9 to a socket on loopback, but for nfpcapd, which writes its files, and
ndpiReader, which only counts. CPU is user and system time of a program and all its children.
"""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from common import BUILD, CACHE, ROOT, tool

LIMIT_S = 90  # of one run; who is not done by then has a bound in the table
PR_SET_CHILD_SUBREAPER = 36
SLOW = ("pmacctd", "ndpiReader")  # take minutes of these loads

# A machine of the bench's own, so that a probe's licence can be bound to it (see e2e-probe-licence)
MACHINE = """
mount -t tmpfs none /sys/class && mkdir -p /sys/class/dmi/id
echo 6ba7b810-9dad-11d1-80b4-00c04fd430c8 > /sys/class/dmi/id/product_uuid
echo 0123456789abcdef0123456789abcdef > /sys/class/machine-id
mount --bind /sys/class/machine-id /etc/machine-id
mount -t tmpfs none /var/lib
exec "$@"
"""
ON_MACHINE = ["unshare", "-m", "sh", "-ec", MACHINE, "sh"]
PROBE = os.path.join(BUILD, "weir-probe")

PMACCT = """daemonize: false
plugins: nfprobe
aggregate: src_host,dst_host,src_port,dst_port,proto,tos
nfprobe_receiver: 127.0.0.1:{port}
nfprobe_version: 9
nfprobe_timeouts: tcp=60:maxlife=60
pcap_savefile: {path}
pmacctd_as: false
"""


def packets_of(path):
    n = 0
    with open(path, "rb") as file:  # by steps: what is read here must not count as memory of others
        file.seek(24)
        while head := file.read(16):
            file.seek(int.from_bytes(head[8:12], "little"), os.SEEK_CUR)
            n += 1
    return n


def mix(packets, least=0):
    os.makedirs(CACHE, exist_ok=True)
    path = os.path.join(CACHE, f"mix-{packets}-{least}.pcap")
    if not os.path.exists(path):
        corpus = os.path.join(os.path.dirname(ROOT), "shared", "corpus", "packets")
        source = corpus if os.path.isdir(corpus) else os.path.join(ROOT, "test", "golden")
        subprocess.run([sys.executable, os.path.join(ROOT, "bench", "mkmix.py"), path + ".new",
                        str(packets), str(least), source], check=True)
        os.rename(path + ".new", path)
    return path


def measured(command):
    """(CPU seconds, peak MB of the largest process, exit status; None: stopped at the limit)."""
    with open(os.devnull, "wb") as null:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=null, stderr=null,
                                 start_new_session=True)
    cpu, peak, status, end = 0.0, 0.0, None, time.monotonic() + LIMIT_S
    while True:
        with contextlib.suppress(ChildProcessError):
            pid, code, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0 and time.monotonic() < end:
                time.sleep(0.01)
            elif pid == 0:
                os.killpg(child.pid, signal.SIGKILL)
                end = float("inf")
                status = "late"
            else:
                cpu += usage.ru_utime + usage.ru_stime
                peak = max(peak, usage.ru_maxrss / 1024)
                if pid == child.pid and status is None:
                    status = os.waitstatus_to_exitcode(code)
            continue
        child.returncode = 0
        return cpu, peak, None if status == "late" else status


def licence(folder):
    said = subprocess.run([*ON_MACHINE, PROBE, "--version"], capture_output=True, text=True)
    found = re.search(r"System ID (\S+)", said.stdout)
    if not found:
        sys.exit(f"a namespace for mounts is needed to license the probe (root): {said.stderr.strip()}")
    passphrase, path = os.path.join(folder, "passphrase"), os.path.join(folder, "licence")
    with open(passphrase, "w", encoding="ascii") as file:
        file.write("evaluation\n")
    subprocess.run([os.path.join(BUILD, "weir-license"), "issue", "--key",
                    os.path.join(ROOT, "licences", "evaluation.key"), "--passphrase-file", passphrase,
                    "--kind", "probe", "--customer", "Bench", "--expires", "30d", "--system-id",
                    found[1], "-o", path], check=True)
    return path


def programs(path, port, folder, cap):
    probe = [*ON_MACHINE, PROBE, "-i", path, "-n", f"127.0.0.1:{port}", "--license", f"{folder}/licence"]
    if cap:
        probe += ["--max-flows", str(cap)]
    pmacct = os.path.join(folder, os.path.basename(path) + ".pmacct")
    with open(pmacct, "w", encoding="ascii") as file:
        file.write(PMACCT.format(port=port, path=path))
    return {
        "weir-probe": [*probe, "--no-dpi"],
        "softflowd 1.1": ["softflowd", "-d", "-r", path, "-v", "9", "-m", str(cap or 2000000), "-n",
                          f"127.0.0.1:{port}", "-p", f"{folder}/pid", "-c", "none"],
        "nfpcapd 1.7": ["nfpcapd", "-r", path, "-l", folder],
        "pmacctd 1.7 nfprobe": ["pmacctd", "-f", pmacct],
        "weir-probe, nDPI": probe,
        "ndpiReader 4.2, nDPI": ["ndpiReader", "-i", path, "-q", "-v", "0"],
    }


def bench_load(name, path, port, folder, runs, cap=None, without=()):
    packets = packets_of(path)
    commands = {program: command for program, command in programs(path, port, folder, cap).items()
                if not program.startswith(tuple(without))}
    results = {program: [] for program in commands}
    with open(path, "rb") as file:  # page cache warm
        while file.read(1 << 22):
            pass
    for run in range(runs):
        for program, command in commands.items():
            if run and results[program][0][2] is None:
                continue  # it takes too long: once is enough
            results[program].append(measured(command))
    print(f"\n**{name}**, {packets:,} packets{f', {cap:,} flows at most' if cap else ''}:\n")
    print("| program | CPU ns a packet | times weir's | peak MB |\n|---|---|---|---|")
    for program, done in results.items():
        mine = results["weir-probe, nDPI" if "nDPI" in program else "weir-probe"]
        ratio = statistics.median(a[0] / b[0] for a, b in zip(done, mine))
        cpu = statistics.median(r[0] for r in done) / packets * 1e9
        more = "" if all(r[2] is not None for r in done) else "more than "
        bad = [r[2] for r in done if r[2]]
        print(f"| {program}{f' (exit {bad[0]})' if bad else ''} | {more}{cpu:.0f} | {more}{ratio:.2f} | "
              f"{statistics.median(r[1] for r in done):.0f} |", flush=True)


def bench_meter(args):
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # daemons' children end up here
    folder = tempfile.mkdtemp(prefix="weir-bench-")
    traffic = tool("traffic")
    loads = {
        "mix": ("Mix of captures", lambda _: mix(args.packets), None),
        "long": ("Mix of captures of 10 packets a flow and more", lambda _: mix(args.packets, 10), None),
        "small": ("Small packets, a million flows at once", ("small", args.packets * 8 // 16), None),
        "flood": ("SYN flood", ("flood", args.packets * 2), 200000),
        "elephants": ("Elephants", ("elephants", args.packets // 2), None),
    }
    try:
        licence(folder)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:  # somebody who takes the export
            udp.bind(("127.0.0.1", 0))
            for load in args.loads or loads:
                name, source, cap = loads[load]
                without = SLOW if cap or load in ("small", "elephants") else ()
                path = os.path.join(folder, f"{load}.pcap")
                if callable(source):
                    path = source(path)
                else:
                    subprocess.run([traffic, source[0], str(source[1]), path], check=True)
                bench_load(name, path, udp.getsockname()[1], folder, args.runs, cap, without)
                if not callable(source):
                    os.unlink(path)
    finally:
        shutil.rmtree(folder)
