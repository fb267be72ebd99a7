#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 400 s
"""Another server key: handed to the probes, confirmed, used, finished, forced, taken back; with
probes away, a hub started again in the middle, and images that hold the old key."""
import json
import os
import re
import shutil
import subprocess
import time

from _causes import cause_line, rows
from _e2e import PROBE, check, free_ports, main, same, wait_for
from _flood import Stream, ask, capture, do, one, same_sources


def with_key(options, key):
    changed = list(options)
    changed[changed.index("--zmq-encryption-key") + 1] = key
    return changed


def unconfirmed(hub):
    return [row["name"] for row in hub.get("/server-key")["unconfirmed"]]


def metric(hub):
    status, body = hub.fetch("/metrics")
    same(status, 200, "metrics")
    return int(re.search(rb"^weir_hub_server_key_unconfirmed (\d+)", body, re.M)[1])


def run(lab, name, options, n, base):
    """A probe that delivers a file, and ends."""
    probe = lab.probe("-i", capture(lab.path(f"{name}-{base}.pcap"), n, base), "--probe-id", name,
                      "--probe-name", name, "--exit-timeout", "60", *options, name=f"{name}-{base}",
                      data_dir=lab.path(name))
    same(probe.wait(90), 0, f"{name} ends with")
    return probe


def checked(lab, name, options):
    """Does --check say that the data port has the key?"""
    run = subprocess.run([PROBE, "--check", "-i", "lo", *options, "--data-dir", lab.path(name)],
                         capture_output=True, text=True, timeout=60)
    return re.search("^ok +data port .*has the key$", run.stdout, re.M) is not None


def sent(n, base):
    return {(f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", 1024 + i % 50000)
            for i in range(base, base + n)}


def feed(lab, name, options, base):
    return Stream(lab, name, ["--probe-id", name, "--probe-name", name, *options], base)


def make(hub):
    port = free_ports(2)
    made = do(hub, "POST", "/server-key/next", {"first_port": port})
    same(made["ports"], [{"interface": 1, "data_port": port, "events_port": port + 1}], "ports")
    same(made["state"], "handing over", "state")
    check(made["next_public_key"] != made["public_key"] == hub.key(), f"keys {made}")
    return made


def finished(hub, key):
    wait_for("the change is finished", lambda: hub.get("/server-key")["state"] == "single")
    same((hub.key(), hub.get("/server-key")["next_public_key"]), (key, ""), "the hub's key")


def test_change(lab):
    """From key to key, with all that comes in between: every flow is stored once."""
    hub = lab.hub()
    image = hub.options_for_probe()
    alpha = feed(lab, "alpha", image, 0)
    run(lab, "beta", image, 100, 300000)
    one(hub, name="alpha", admission="admitted", connected=True)
    one(hub, name="beta", connected=False)
    same(metric(hub), 0, "unconfirmed while the key was never changed")
    same(hub.get("/server-key")["unconfirmed"], [], "likewise")
    old = hub.key()

    made = make(hub)
    for name in ("zmq-key-next.pub", "zmq-key-next.priv"):
        same(os.stat(os.path.join(hub.data_dir, name)).st_mode & 0o777, 0o600, name)
    begin = time.monotonic()
    wait_for("alpha confirms", lambda: unconfirmed(hub) == ["beta"], 10)
    print(f"      confirmed {time.monotonic() - begin:.2f} s after it was made")
    row = hub.get("/server-key")["unconfirmed"][0]
    same((row["connected"], row["reason"]), (False, "it is away"), "beta")
    wait_for("the metric", lambda: metric(hub) == 1, 5)
    check("handed over its next key" in alpha.probe.log(), alpha.probe.log())
    with open(os.path.join(lab.path("alpha"), "server-keys.json")) as file:
        check(made["ports"][0]["data_port"] == next(iter(json.load(file)["hubs"].values()))[
            "keys"]["data_port"], "kept at the probe")
    same(hub.get("/server-key")["using_next"], 0, "it goes on with the connection it has")

    hub.kill()
    time.sleep(1)
    hub.again()
    same((hub.get("/server-key")["ports"], unconfirmed(hub)), (made["ports"], ["beta"]),
         "after a restart")
    # by the next key, or by the present one, whichever answered first
    wait_for("alpha is back", lambda: hub.probe(name="alpha", connected=True))

    status, answer = ask(hub, "POST", "/server-key/finish", {})
    same((status, answer["error"]["code"]), (409, "unconfirmed"), "finished with beta away")
    check("1 probe has not confirmed the next key: beta." in answer["error"]["message"], answer)
    same(ask(hub, "POST", "/server-key/next", {})[0], 409, "a second next key")
    same(hub.options_for_probe(), image, "what new probes are given stays the present key")
    run(lab, "beta", image, 100, 300100)
    check("handed over its next key" in lab.programs[-1].log(), "beta is handed the key")
    run(lab, "beta", image, 100, 300400)
    check("connected with the key that the hub has handed over" in lab.programs[-1].log(),
          "and uses it at its next connection")
    run(lab, "gamma", image, 100, 400000)
    same(unconfirmed(hub), [], "with beta, and with gamma, which is new")
    wait_for("it is said", lambda: "all 2 probes have confirmed the next server key" in hub.log(),
             5)
    same(metric(hub), 0, "metric")

    stored = hub.get("/status")["store"]["flows"]
    begin = time.monotonic()
    do(hub, "POST", "/server-key/finish", {})
    finished(hub, made["next_public_key"])
    wait_for("alpha delivers on", lambda: hub.probe(name="alpha")["connected"]
             and hub.get("/status")["store"]["flows"] > stored + 300)
    print(f"      flows by the new key {time.monotonic() - begin:.2f} s after the finish")
    fresh = hub.options_for_probe()
    same((with_key(fresh, ""), fresh == image), (with_key(image, ""), False), "a new key, all else "
         "as it was")
    sample = hub.fetch("/api/v1/interfaces/1/sample-config")[1].decode()
    check(fresh[fresh.index("--zmq-encryption-key") + 1] in sample, "in the sample too")
    for name in ("beta", "gamma"):  # their images hold the old key, their disks the new one
        run(lab, name, image, 100, 300200 if name == "beta" else 400100)
        check(checked(lab, name, image), "--check with what was handed over")
    run(lab, "beta", fresh, 100, 300300)
    run(lab, "delta", fresh, 100, 500000)
    same((unconfirmed(hub), metric(hub)), ([], 0), "nobody was lost")

    check(not checked(lab, "late", image), "--check with a key that is retired")
    late = lab.probe("-i", capture(lab.path("late.pcap"), 10, 900000), *image, name="late")
    at = f"tcp://127.0.0.1:{hub.port}"
    wait_for("an old image without a disk", lambda: cause_line("WRONG_KEY", at) in late.log())
    late.kill()
    same(hub.stop(), 0, "the hub ends with")
    hub.command += ["--zmq-encryption-key-priv", ""]
    with open(os.path.join(hub.data_dir, "zmq-key-retired.priv")) as file:
        hub.command[-1] = file.read()
    hub.again()
    check("is the key that was changed" in hub.log(), "the old private key in a service file")
    same(hub.key(), made["next_public_key"], "key after a restart")
    check(hub.key() != old, "it is another one")
    alpha.end()
    expected = alpha.sources() | sent(500, 300000) | sent(200, 400000) | sent(100, 500000)
    same_sources(hub, expected, "through the change")
    same({row["flows_missing"] for row in hub.get("/probes")}, {0}, "missing")


def test_forced(lab):
    """Finished with a probe away: it is named before and after, and told at both ends."""
    hub = lab.hub()
    image = hub.options_for_probe()
    run(lab, "away", image, 100, 0)
    wait_for("it is away", lambda: hub.probe(connected=False))
    made = make(hub)
    do(hub, "POST", "/server-key/finish", {"force": True})
    finished(hub, made["next_public_key"])
    same((unconfirmed(hub), hub.get("/server-key")["confirmed"]), (["away"], 0), "lost")
    wait_for("the metric", lambda: metric(hub) == 1, 5)
    file = capture(lab.path("more.pcap"), 100, 100)
    probe = lab.probe("-i", file, "--probe-id", "away", "--probe-name", "away",
                      "--exit-timeout", "10", *image, name="lost", data_dir=lab.path("away"))
    at = f"tcp://127.0.0.1:{hub.port}"
    wait_for("it says so", lambda: cause_line("WRONG_KEY", at) in probe.log(), 10)
    problem = wait_for("the hub says so", lambda: [
        p for p in hub.get("/interfaces/1")["problems"] if p["kind"] == "retired_key"], 10)[0]
    row = rows()["PEER_RETIRED_KEY"]
    same((problem["address"], problem["text"]), ("127.0.0.1", f"{row['text']}; {row['mend']}"),
         "problem")
    same(probe.wait(60), 3, "flows are left, in its spool: it ends with")
    run(lab, "away", hub.options_for_probe(), 100, 200)
    same(unconfirmed(hub), [], "with the new key")
    same_sources(hub, sent(300, 0), "what waited as well")


def test_taken_back(lab):
    """A next key that is taken back: those that use it go back, and all goes on."""
    hub = lab.hub()
    image = hub.options_for_probe()
    alpha = feed(lab, "alpha", image, 0)
    one(hub, name="alpha", connected=True)
    old = hub.key()
    same(ask(hub, "DELETE", "/server-key/next")[0], 409, "there is none")
    same(ask(hub, "POST", "/server-key/finish", {})[0], 409, "there is none")
    same(ask(hub, "POST", "/server-key/next", {"first_port": hub.port})[0], 409, "in use")
    same(hub.get("/server-key")["state"], "single", "nothing came of it")
    make(hub)
    wait_for("alpha confirms", lambda: unconfirmed(hub) == [] and
             hub.get("/server-key")["confirmed"] == 1)
    run(lab, "beta", image, 100, 400000)
    beta = feed(lab, "beta", image, 500000)
    wait_for("beta uses the key", lambda: hub.get("/server-key")["using_next"] == 1)
    do(hub, "DELETE", "/server-key/next")
    finished(hub, old)
    wait_for("alpha is told", lambda: "taken its next key back" in alpha.probe.log(), 10)
    wait_for("beta is told", lambda: "taken its next key back" in beta.probe.log(), 10)
    for name in ("alpha", "beta"):
        one(hub, name=name, connected=True)
    same(sorted(name for name in os.listdir(hub.data_dir) if name.startswith("zmq-key")),
         ["zmq-key.priv", "zmq-key.pub"], "files")
    alpha.end()
    beta.end()
    run(lab, "alpha", image, 100, 300000)
    same_sources(hub, alpha.sources() | beta.sources() | sent(100, 300000) | sent(100, 400000),
                 "all")


def test_no_way_to_the_next_port(lab):
    """The next key's port does not answer: the present key is used, and it is said; the change is
    finished all the same."""
    hub = lab.hub()
    image = hub.options_for_probe()
    run(lab, "alpha", image, 100, 0)
    made = make(hub)
    run(lab, "alpha", image, 100, 100)
    path = os.path.join(lab.path("alpha"), "server-keys.json")
    with open(path) as file:
        kept = json.load(file)
    port = free_ports(2)
    for entry in kept["hubs"].values():
        entry["keys"].update(data_port=port, events_port=port + 1)
    with open(path, "w") as file:
        json.dump(kept, file)
    probe = run(lab, "alpha", image, 100, 200)
    check(f"with its next one it does not answer on ports {port} and {port + 1}" in probe.log(),
          probe.log())
    do(hub, "POST", "/server-key/finish", {})
    finished(hub, made["next_public_key"])
    run(lab, "alpha", image, 100, 300)
    same_sources(hub, sent(400, 0), "all")


def test_back_to_a_backup(lab):
    """A hub put back to its old key: a probe that was told that it is retired does not use it."""
    hub = lab.hub()
    image = hub.options_for_probe()
    run(lab, "alpha", image, 100, 0)
    same(hub.stop(), 0, "the hub ends with")
    shutil.copytree(hub.data_dir, lab.path("backup"))
    hub.again()
    made = make(hub)
    run(lab, "alpha", image, 100, 100)
    do(hub, "POST", "/server-key/finish", {})
    finished(hub, made["next_public_key"])
    run(lab, "alpha", image, 100, 200)
    same(hub.stop(), 0, "the hub ends with")
    shutil.rmtree(hub.data_dir)
    shutil.copytree(lab.path("backup"), hub.data_dir)
    hub.again()
    probe = lab.probe("-i", capture(lab.path("more.pcap"), 100, 300), "--probe-id", "alpha",
                      "--exit-timeout", "10", *image, name="more", data_dir=lab.path("alpha"))
    at = f"tcp://127.0.0.1:{hub.port}"
    wait_for("it says so", lambda: cause_line("KEPT_KEY", at) in probe.log(), 10)
    same(probe.wait(60), 3, "flows are left, in its spool: it ends with")
    os.unlink(os.path.join(lab.path("alpha"), "server-keys.json"))
    run(lab, "alpha", image, 100, 400)
    same_sources(hub, sent(100, 0) | sent(200, 300), "what the backup had, and what waited")


main([test_change, test_forced, test_taken_back, test_no_way_to_the_next_port,
      test_back_to_a_backup])
