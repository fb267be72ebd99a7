#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""The hub's licence, as a service provider lives with it: evaluation, a licence for three, who waits and
why, seats that come free, renewed, smaller, damaged, gone, revoked; every flow once."""
import json
import os
import random
import re
import subprocess
import threading
import time

from _e2e import HUB, LICENSE, SLOW, SOURCE, check, issue, main, matches, same, wait_for
from _feed import flows_between
from _flood import Stream, ask, do, one, probe_path

API = json.load(open(os.path.join(SOURCE, "spec", "openapi.json")))


def licence_of(hub):
    found = hub.get("/licence")
    wrong = matches(found, {"$ref": "#/components/schemas/Licence"}, API)
    check(not wrong, f"/licence: {wrong}")
    return found


def held(hub):
    """Names of those that have a seat and are there."""
    return [row["name"] for row in licence_of(hub)["seats"]["held"] if row["connected"]]


def waiting(hub):
    return [row["name"] for row in licence_of(hub)["seats"]["waiting"]]


def within(limit_s, what, condition):
    begin = time.monotonic()
    wait_for(what, condition, limit_s + 10)
    took_s = time.monotonic() - begin
    print(f"      {what}: {took_s:.2f} s")
    check(took_s <= limit_s * SLOW, f"{what}: {took_s:.2f} s, at most {limit_s} s")


def start(lab, hub, name, base):
    """One more probe; it is enrolled when this returns."""
    feed = Stream(lab, name, ["--probe-name", name, *hub.options_for_probe()], base, block=10)
    one(hub, name=name, connected=True)
    return feed


def end(feeds):
    for feed in feeds.values():
        feed.stopped = True
    for feed in feeds.values():
        feed.end()


def told_why(hub, feed, words):
    name = feed.probe.name
    within(2, f"{name} is told why it waits", lambda: "has not admitted" in feed.probe.log())
    check(words in feed.probe.log(), f"{words!r} is not in {feed.probe.log()}")
    row = one(hub, name=name, seat="waiting", state="pending")
    check(words in row["state_text"] and words in row["reason"], row["state_text"])


def install(hub, text):
    status, answer = ask(hub, "POST", "/licence", {"text": text})
    check(status == 200, f"{status} {answer}")
    return answer


def metric(hub, name):
    return int(re.search(rf"^{name} (\d+)$", hub.fetch("/metrics")[1].decode(), re.M)[1])


def renew(lab, path, probes):
    """Put there as an administrator would; the one issued later counts, by the second."""
    time.sleep(1.1)
    text = issue(lab.path("new"), probes=probes)
    with open(path, "w") as file:
        file.write(text)
    return text


def once(hub):
    """The sources of all flows, each of which is there once."""
    found = [(flow["src_ip"], flow["src_port"]) for flow in flows_between(hub, 0, 2 ** 41)]
    check(len(found) == len(set(found)), f"{len(found) - len(set(found))} flows are there twice")
    return set(found)


def test_provider(lab):
    path = lab.path("etc.license")
    hub = lab.hub("--license", path)
    check("evaluation, everything works, for 2 probes" in hub.log(), hub.log())
    same(licence_of(hub)["state"], "none", "state")
    feeds = {name: start(lab, hub, name, 1_000_000 * i)
             for i, name in enumerate(("gone", "one", "three", "four", "five"), 1)}
    for name, words in (("three", "it is the next"), ("four", "1 before it"), ("five", "2 before it")):
        told_why(hub, feeds[name], words)
    same(held(hub), ["gone", "one"], "in evaluation")

    text = issue(lab.path("three.license"), probes=3, customer="Norddeutsche Netze")
    for damaged, word in ((text[:40], "cut short"), ("rubbish", "not taken"), (text.replace(".", "A.", 1), "taken")):
        status, answer = ask(hub, "POST", "/licence", {"text": damaged})
        same(status, 422, f"{damaged[:20]!r} installed")
        check(word in answer["error"]["message"], answer["error"]["message"])
    same(held(hub), ["gone", "one"], "nothing has changed")
    install(hub, text)
    within(1, "three at work once the licence is there", lambda: held(hub) == ["gone", "one", "three"])
    found = licence_of(hub)
    same((found["mode"], found["state"], found["licence"]["customer"], found["seats"]["limit"]),
         ("cloud", "valid", "Norddeutsche Netze", 3), "licence")
    wait_for("metrics", lambda: (metric(hub, "weir_seats"), metric(hub, "weir_licence_state")) == (3, 1), 3)
    check("Norddeutsche Netze for 3 probes" in hub.get("/status")["license"], "status")

    row = hub.probe(name="gone")
    do(hub, "POST", probe_path(row, "/revoke"))
    within(5, "the fourth has the seat of one that was revoked",
           lambda: held(hub) == ["one", "three", "four"] and hub.probe(name="four", state="capturing"))
    gone = feeds.pop("gone")
    gone.probe.kill()
    row = hub.probe(name="five")
    same(do(hub, "PUT", probe_path(row, "/pin"), {"pinned": True})["pinned"], True, "pinned")
    within(1, "the pinned one has a seat", lambda: "five" in held(hub) and "four" in waiting(hub))
    do(hub, "PUT", probe_path(row, "/pin"), {"pinned": False})
    changes(lab, hub, path)
    end(feeds)
    got, sent = once(hub), set().union(*(feed.sources() for feed in feeds.values()))
    check(gone.sources() & got, "flows of the one that was revoked stay")
    got -= gone.sources()
    same((len(got), got - sent, sent - got), (len(sent), set(), set()), "flows")
    print(f"      {sum(feed.sent for feed in feeds.values())} flows, each once")


def changes(lab, hub, path):
    """The file in /etc, while the hub runs."""
    renew(lab, path, 1)
    within(1.5, "made smaller: one at work", lambda: held(hub) == ["one"])
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text[:len(text) // 2])  # the three of before, which were uploaded, count again
    within(1.5, "half written: what was uploaded counts", lambda: licence_of(hub)["seats"]["limit"] == 3)
    check("cut short" in licence_of(hub)["trouble"], licence_of(hub)["trouble"])
    os.remove(os.path.join(hub.data_dir, "licence"))
    within(1.5, "none left: the last one is kept", lambda: licence_of(hub)["kept"])
    found = licence_of(hub)
    check(found["trouble"] and found["kept_until_ms"] > found["now_ms"] + 86000000, f"{found}")
    same(found["seats"]["limit"], 3, "seats")
    wait_for("metrics", lambda: metric(hub, "weir_licence_state") == 3, 3)
    large = renew(lab, path, 9)
    within(1.5, "renewed: nobody waits", lambda: not waiting(hub))
    key = ["--key", os.path.join(SOURCE, "licences", "evaluation.key"), "--passphrase-file", lab.path("words")]
    with open(lab.path("words"), "w") as file:
        file.write("evaluation\n")
    number = licence_of(hub)["licence"]["id"]
    subprocess.run([LICENSE, "revoke", lab.path("revoked.list"), number, *key], check=True, capture_output=True)
    with open(lab.path("revoked.list")) as file:
        install(hub, file.read())
    within(1, "revoked: two go on", lambda: len(held(hub)) == 2 and licence_of(hub)["state"] == "revoked")
    same(ask(hub, "POST", "/licence", {"text": large})[0], 422, "a revoked one installed")
    install(hub, issue(lab.path("last.license"), probes=5))
    within(5, "a new one: all at work", lambda: len(held(hub)) == 4)


class Watch:
    """All who have a seat from here on, until end()."""

    def __init__(self, hub):
        self.hub, self.seen, self.n, self.stopped = hub, set(), 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            self.seen |= set(held(self.hub))
            self.n += 1
            time.sleep(0.02)

    def end(self):
        self.stopped = True
        self.thread.join()


def test_restarts(lab):
    """Five probes and three seats; hub and probes come back in any order: the same three have them."""
    path = lab.path("etc.license")
    issue(path, probes=3)
    hub = lab.hub("--license", path)
    names = ["one", "two", "three", "four", "five"]
    feeds = {name: start(lab, hub, name, 1_000_000 * i) for i, name in enumerate(names, 1)}
    sent = set()
    within(5, "three at work", lambda: held(hub) == names[:3] and waiting(hub) == names[3:])
    time.sleep(1.2)  # what is a second old is kept
    for kill in (True, False):
        for name in names:
            feeds[name].stopped = True
            feeds[name].thread.join()
            feeds[name].probe.kill()
            sent |= feeds[name].sources()
        hub.kill() if kill else hub.stop()
        order = random.sample(names, 5)
        hub.again()
        watch = Watch(hub)
        for name in order:
            base = 1_000_000 * (10 * (1 + kill) + names.index(name))
            feeds[name] = Stream(lab, name + str(kill), ["--probe-name", name, *hub.options_for_probe()],
                               base, data_dir=lab.path(name), block=10)
            time.sleep(random.random() / 2)
        within(10, f"after {' '.join(order)} the same three at work",
               lambda: held(hub) == names[:3] and waiting(hub) == names[3:])
        watch.end()
        print(f"      who had a seat meanwhile, looked at {watch.n} times: {' '.join(sorted(watch.seen))}")
        check(watch.n > 10 and watch.seen == set(names[:3]), f"a seat had {watch.seen}, looked at {watch.n} times")
    renew(lab, path, 5)
    within(5, "all at work", lambda: len(held(hub)) == 5)
    end(feeds)
    got = once(hub)
    # a probe that is killed may lose what it had not brought to its spool
    check(not got - sent.union(*(feed.sources() for feed in feeds.values())), "flows nobody has sent")


def test_hurry(lab):
    """A pin that was answered outlives a kill at once; who is revoked and restored is soon back."""
    path = lab.path("etc.license")
    hub = lab.hub("--license", path)
    feeds = {name: start(lab, hub, name, 1_000_000 * i) for i, name in enumerate("abc", 1)}
    within(5, "two at work", lambda: held(hub) == ["a", "b"] and waiting(hub) == ["c"])
    time.sleep(1.2)  # all else is flushed
    do(hub, "PUT", probe_path(hub.probe(name="c"), "/pin"), {"pinned": True})
    hub.kill()
    hub.again()
    check(hub.probe(name="c")["pinned"], "the pin is lost")
    within(10, "the pinned one at work", lambda: held(hub) == ["c", "a"] and waiting(hub) == ["b"])
    row = hub.probe(name="a")
    do(hub, "POST", probe_path(row, "/revoke"))
    time.sleep(0.5)
    do(hub, "POST", probe_path(row, "/restore"))
    within(10, "revoked, restored and at work", lambda: held(hub) == ["c", "a"] and waiting(hub) == ["b"])
    issue(path, probes=3)
    within(5, "all at work", lambda: len(held(hub)) == 3)
    end(feeds)
    once(hub)


def look(*options):
    run = subprocess.run([HUB, "--check-license", *options], capture_output=True, text=True)
    return run.returncode, run.stdout


def test_check(lab):
    """--check-license: what is said of each, and that a look changes nothing."""
    version = subprocess.run([HUB, "--version"], capture_output=True, text=True).stdout
    system_id = re.search(r"System ID (\S+)", version)[1]
    check(system_id.startswith("weir1-"), version)
    with open("/etc/machine-id") as file:
        machine = file.read().strip()
    enough = system_id.count("-0") < 3  # a container may show too little of itself
    check(enough == ("use a cloud licence" not in version), version)
    path = lab.path("one.license")
    folder = lab.path("data")
    os.mkdir(folder)
    cases = [
        (0, "for 7 probes: valid until", lambda: issue(path, probes=7)),
        (0, "valid, without an end", lambda: issue(path, expires="never")),
        *((0, "hub licence", lambda: issue(path, "--system-id", system_id, kind="hub")),
          (1, "it is a probe's licence", lambda: issue(path, "--system-id", system_id, kind="probe")),
          ) * enough,
        (1, "it holds from 2099", lambda: issue(path, "--not-before", "2099-01-01", expires="2100-01-01")),
        (1, "cut short", lambda: open(path, "w").write(issue(lab.path("other"))[:100])),
        (1, "no licence: evaluation", lambda: os.remove(path)),
    ]
    for code, words, prepare in cases:
        prepare()
        got, text = look("--license", path, "--data-dir", folder)
        check(got == code and words in text, f"{got} {text!r}, expected {code} {words!r}")
        check(system_id in text and (not machine or machine not in text), text)
        check(text.startswith("valid: " if code == 0 else "invalid: "), text)
    same(os.listdir(folder), [], "written by looking")


if __name__ == "__main__":
    main([test_provider, test_restarts, test_hurry, test_check])
