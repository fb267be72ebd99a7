#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 240 s
"""What a probe that root started gives up, and that it does its work all the same."""
import os
import pwd
import re
import signal
import stat
import subprocess
import time

from _e2e import PROBE, SLOW, captures, check, in_namespace, main, offline, same, wait_for

NET_RAW = 1 << 13


def status(pid, task=None):
    path = f"/proc/{pid}/task/{task}/status" if task else f"/proc/{pid}/status"
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def process_of(program):
    """`ip netns exec` becomes the program, so it is the same process."""
    return program.process.pid


def check_threads(pid, uid, caps_of_main, seccomp=True):
    tasks = os.listdir(f"/proc/{pid}/task")
    for task in tasks:
        of = status(pid, task)
        name = f"thread {of['Name']}"
        same(of["Uid"].split(), [str(uid)] * 4, f"{name}: Uid")
        same(of["Groups"].split(), [], f"{name}: groups")
        check(int(of["CapEff"], 16) in (0, caps_of_main), f"{name}: CapEff {of['CapEff']}")
        check(int(of["CapPrm"], 16) in (0, caps_of_main), f"{name}: CapPrm {of['CapPrm']}")
        same(int(of["CapInh"], 16) | int(of["CapAmb"], 16), 0, f"{name}: CapInh, CapAmb")
        if SLOW == 1 and seccomp:  # the filter reaches all threads, those of libraries too
            same(of["NoNewPrivs"], "1", f"{name}: NoNewPrivs")
            same(of["Seccomp"], "2", f"{name}: Seccomp")
    of = status(pid)
    same(int(of["CapEff"], 16), caps_of_main, "CapEff")
    same(of["NoNewPrivs"], "1", "NoNewPrivs")
    return tasks


def replay(namespace, capture):
    subprocess.run(in_namespace(namespace, ["tcpreplay", "-q", "-i", "w0", "--pps", "2000", capture]),
                   capture_output=True, check=True, timeout=60)


def capture_of(name):
    return [c for c in captures() if c.endswith(f"/{name}.pcap")][0]


def of_root(folder):
    return [name for name in [folder] + [os.path.join(at, one) for at, folders, files in os.walk(folder)
                                         for one in folders + files] if os.stat(name).st_uid == 0]


def test_live(lab):
    """Two workers to a hub: everything given up, the interface taken again when it came back."""
    hub = lab.hub()
    uid = pwd.getpwnam("nobody").pw_uid
    sender = lab.namespace()
    # in the namespace of the hub, which is that of the test
    name = f"c{os.getpid() % 100000}"

    def cable():
        subprocess.run(["ip", "-n", sender, "link", "add", "w0", "type", "veth", "peer", "name", name,
                        "netns", str(os.getpid())], check=True)
        for at in (["-n", sender], []):
            wire = "w0" if at else name
            subprocess.run(["ip", *at, "link", "set", wire, "addrgenmode", "none", "up"], check=True)

    cable()
    try:
        data, out = lab.path("data"), lab.path("only-root")
        os.mkdir(out, 0o700)
        os.mkdir(data, 0o700)
        with open(os.path.join(data, "left-by-root"), "w"):
            pass
        probe = lab.probe("-i", name, "--workers", "2", *hub.options_for_probe(), "--unprivileged-user", "nobody",
                          "--json", f"{out}/json", "--counters", f"{out}/counters", "-t", "600", data_dir=data)
        wait_for("the probe is connected", lambda: hub.get("/interfaces/1")["probes_connected"] == 1)
        pid = process_of(probe)
        wait_for("it is not root", lambda: status(pid)["Uid"].split()[0] != "0")
        wait_for("all threads", lambda: len(os.listdir(f"/proc/{pid}/task")) >= 7)
        tasks = check_threads(pid, uid, NET_RAW)
        check(len(tasks) >= 5, f"threads: {len(tasks)}")
        same(of_root(data), [], "files of root in the data folder")
        replay(sender, capture_of("udp"))
        time.sleep(0.3)
        subprocess.run(["ip", "link", "del", name], check=True)
        wait_for("it is told", lambda: "the interface is gone" in probe.log())
        cable()
        wait_for("it is back", lambda: "the interface is up" in probe.log())
        time.sleep(1.5)
        replay(sender, capture_of("tcp"))
        time.sleep(0.5)
        same(probe.stop(), 0, "the probe ends with")
        expected = sum(flow["packets"] + flow["rev_packets"] for name in ("udp", "tcp")
                       for flow in offline(lab, capture_of(name)))
        same(sum(f["packets"] + f["rev_packets"] for f in hub.flows()), expected, "packets at the hub")
        with open(f"{out}/counters") as file:
            check("weir_probe_packets_received_total" in file.read(), "counters are written")
        same(of_root(data), [], "files of root in the data folder")
    finally:
        subprocess.run(["ip", "link", "del", name], capture_output=True)


def test_again(lab):
    """As root, as nobody, as root: the folder serves each of them."""
    hub = lab.hub()
    data = lab.path("data")
    for options in (["--dont-drop-privileges"], ["--unprivileged-user", "nobody"], ["--dont-drop-privileges"],
                    ["--unprivileged-user", "nobody"]):
        probe = lab.probe("-i", capture_of("udp"), *hub.options_for_probe(), *options, data_dir=data)
        same(probe.wait(60), 0, f"{options} ends with")
    other = lab.probe("-i", capture_of("udp"), *hub.options_for_probe(), "--unprivileged-user", "daemon",
                      data_dir=data)
    same(other.wait(60), 1, "another user's folder: it ends with")
    check("for user daemon, as whom a probe" in other.log(), other.log())
    same(len(hub.get("/probes")), 1, "probes: the key pair stayed")
    same(of_root(data), [], "files of root")
    same(stat.S_IMODE(os.stat(data).st_mode) & 0o077, 0, "others' rights on the folder")


def test_refused(lab):
    def run(*options):
        return subprocess.run([PROBE, "-i", capture_of("udp"), "--json", "-", *options], capture_output=True,
                              text=True)
    got = run("--unprivileged-user", "no-such-user-here")
    same(got.returncode, 1, "exit code")
    check("there is no such user" in got.stderr, got.stderr)
    closed = lab.path("closed")
    os.mkdir(closed, 0o700)
    got = run("--ntopng", "tcp://127.0.0.1:9", "--zmq-probe-mode", "--zmq-encryption-key",
              lab.hub().key(), "--data-dir", os.path.join(closed, "data"))
    same(got.returncode, 1, "exit code")
    check("let that user reach and write it" in got.stderr, got.stderr)


def test_violation(lab):
    """What is not among the calls ends the process, with a line; and --no-seccomp does not."""
    if SLOW > 1:
        return
    source, library = lab.path("more.c"), lab.path("more.so")
    with open(source, "w") as file:  # any library may want more one day: here, when packets are asked for
        file.write("#define _GNU_SOURCE\n#include <sys/personality.h>\n#include <dlfcn.h>\n"
                   "#include <poll.h>\n#include <pthread.h>\n"
                   "int pthread_setname_np(pthread_t t, const char *n) {\n"
                   "    (void)t; (void)n; personality(0xffffffff); return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    namespace = lab.namespace()
    command = ["env", f"LD_PRELOAD={library}", PROBE, "-i", "lo", "--workers", "2", "--json",
               lab.path("out")]
    probe = lab.start("violates", *command, namespace=namespace)
    same(probe.wait(20), 1, "it ends with")
    check(re.search(r"the system call personality \(number \d+\) is not among those", probe.log()), probe.log())
    probe = lab.start("free", *command, "--no-seccomp", namespace=namespace)
    time.sleep(1.5)
    check(probe.running(), probe.log())
    check_threads(process_of(probe), pwd.getpwnam("nobody").pw_uid, NET_RAW, seccomp=False)
    probe.process.send_signal(signal.SIGTERM)
    same(probe.wait(20), 0, "it ends with")


main([test_live, test_again, test_refused, test_violation])
