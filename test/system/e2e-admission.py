#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Who may deliver: approved, by join token, revoked, taken over, cloned; across restarts."""
import http.cookiejar
import json
import os
import shutil
import sqlite3
import time
import urllib.parse
import urllib.request

from _e2e import check, main, offline, same, same_flows, wait_for
from _flood import Stream, ask, capture, do, one, probe_path, same_sources, sources


def test_approve(lab):
    """Pending: told why, connected, no number, nothing shown; approved: its flows, each once."""
    hub = lab.hub("--admission", "approve")
    file = capture(lab.path("a.pcap"), 3000)
    options = hub.options_for_probe()
    probe = lab.probe("-i", file, "--exit-timeout", "90", *options, name="site")
    row = one(hub, admission="pending", connected=True)
    same((row["id"], row["state"]), (0, "pending"), "number and state")
    check("administrator" in row["state_text"], row["state_text"])
    wait_for("the probe says that it waits", lambda: "has not admitted" in probe.log())
    check("administrator of the hub has to approve it" in probe.log(), probe.log())
    time.sleep(2)
    same(hub.flows(), [], "flows of a probe that waits")
    same(hub.get("/interfaces/1")["probes_connected"], 0, "probes in the totals")
    same(hub.get("/admission"), {"mode": "approve", "pending": 1, "pending_max": 1000}, "admission")
    same(probe.log().count("has not admitted"), 1, "times it is said")
    check(probe.running(), "the probe goes on")

    begin = time.monotonic()
    row = do(hub, "POST", probe_path(row, "/approve"))
    same((row["admission"], row["via"]), ("admitted", "approve"), "approved")
    wait_for("flows are there", lambda: hub.get("/status")["store"]["flows"] > 0, 10)
    print(f"      first flows stored {time.monotonic() - begin:.2f} s after the yes")
    same(probe.wait(60), 0, "the probe ends with")
    same_flows(hub.flows(), offline(lab, file), "after the yes")
    row = hub.get("/probes")[0]
    check(row["id"] > 0, "it has a number")
    same(row["flows_missing"], 0, "missing")
    same(ask(hub, "POST", probe_path(row, "/approve"))[0], 409, "approved twice")
    same(ask(hub, "POST", "/probes/" + "0" * 40 + "/approve")[0], 404, "nobody")


def test_close_enrolment(lab):
    """Open, then closed: who is known delivers, who is new waits; a restart keeps both."""
    hub = lab.hub()
    options = hub.options_for_probe()
    first = lab.probe("-i", capture(lab.path("a.pcap"), 100), *options, name="first")
    same(first.wait(60), 0, "the first ends with")
    check("new probe" in hub.log(), "a new probe stands in the log")
    same(do(hub, "PUT", "/admission", {"mode": "approve"})["mode"], "approve", "mode")
    row = hub.get("/probes")[0]
    do(hub, "PATCH", probe_path(row), {"name": "front door", "site": "north", "tenant": "acme"})
    second = lab.probe("-i", capture(lab.path("b.pcap"), 100, 100), "--probe-name", "second",
                       "--exit-timeout", "90", *options, name="second")
    one(hub, name="second", admission="pending")
    same(hub.stop(), 0, "the hub ends with")
    hub.again()
    same(hub.get("/admission")["mode"], "approve", "mode after a restart")
    row = one(hub, name="front door")
    same((row["site"], row["tenant"], row["admission"], row["via"]),
         ("north", "acme", "admitted", "open"), "kept")
    again = lab.probe("-i", capture(lab.path("c.pcap"), 100, 200), *options, name="first again",
                      data_dir=lab.path("first"))
    same(again.wait(60), 0, "the first, again, ends with")
    one(hub, name="second", admission="pending", connected=True)
    same(len(hub.flows()), 200, "flows of the first")
    same(do(hub, "PUT", "/admission", {"mode": "open"})["pending"], 0, "nobody waits")
    same(second.wait(60), 0, "the second ends with")
    same(len(hub.flows()), 300, "flows of both")


def test_tokens(lab):
    """A join token that is good for one: the second that brings it waits, and is told why."""
    hub = lab.hub("--admission", "token")
    made = do(hub, "POST", "/tokens", {"note": "two", "site": "north", "tenant": "acme"})
    check(made["token"] not in json.dumps(hub.get("/tokens")), "the text is not kept")
    check(made["key_string"] in made["sample_config"], "the file has the key string")
    config = lab.path("probe.conf")
    first = capture(lab.path("a.pcap"), 100)
    with open(config, "w") as file:
        file.write(made["sample_config"].replace("<interface>", first))
    probe = lab.probe(config, name="first")
    same(probe.wait(60), 0, "the first ends with")
    row = one(hub, via="token")
    same((row["site"], row["tenant"], row["token"]), ("north", "acme", made["id"]), "by the token")
    same(hub.get("/tokens")[0]["uses"], 1, "uses")

    options = hub.options_for_probe()
    plain = lab.probe("-i", first, "--exit-timeout", "60", *options, "--probe-name", "plain",
                      name="plain")
    check("join token" in one(hub, name="plain", admission="pending")["reason"], "none brought")
    options[options.index("--zmq-encryption-key") + 1] = made["key_string"]
    second = lab.probe("-i", capture(lab.path("b.pcap"), 100, 100), "--exit-timeout", "60",
                       *options, "--probe-name", "second", name="second")
    row = one(hub, name="second", admission="pending")
    same(row["reason"], "its join token is used up", "reason")
    wait_for("the probe says so", lambda: "join token is used up" in second.log())
    again = lab.probe("-i", capture(lab.path("c.pcap"), 100, 200), *options, name="first again",
                      data_dir=lab.path("first"))
    same(again.wait(60), 0, "the first, again, ends with")
    same(hub.get("/tokens")[0]["uses"], 1, "uses")
    hub.kill()
    hub.again()
    same(hub.get("/tokens")[0]["state"], "used up", "after a restart")
    one(hub, name="second", admission="pending", connected=True)
    do(hub, "POST", probe_path(row, "/approve"))
    same(second.wait(60), 0, "the second ends with")
    same(len(hub.flows()), 300, "flows")
    do(hub, "DELETE", f"/tokens/{made['id']}")
    same(hub.get("/tokens"), [], "tokens")
    same(ask(hub, "DELETE", f"/tokens/{made['id']}")[0], 404, "deleted twice")
    plain.kill()


def test_revoke(lab):
    """Revoked in mid-stream: cut within a second, nothing more is stored; restored: all is, once."""
    hub = lab.hub()
    feed = Stream(lab, "site", hub.options_for_probe(), 0)
    row = one(hub, admission="admitted", connected=True)
    wait_for("flows come", lambda: hub.get("/status")["store"]["flows"] > 300)
    begin = time.monotonic()
    do(hub, "POST", probe_path(row, "/revoke"))
    wait_for("it is cut", lambda: not hub.get("/probes")[0]["connected"], 5)
    took = time.monotonic() - begin
    print(f"      cut {took:.2f} s after it was revoked")
    check(took < 1.5, f"cut after {took} s")
    wait_for("the probe says it", lambda: "revoked" in feed.probe.log(), 15)
    time.sleep(6)  # what had been taken before is stored by now
    stored = hub.get("/status")["store"]["flows"]
    time.sleep(3)
    same(hub.get("/status")["store"]["flows"], stored, "flows stored of a revoked key")
    same(feed.probe.log().count("revoked"), 1, "times the probe says it")
    same(hub.get("/probes")[0]["state"], "revoked", "state")
    hub.kill()
    hub.again()
    same(hub.get("/probes")[0]["state"], "revoked", "state after a restart")
    do(hub, "POST", probe_path(row, "/restore"))
    one(hub, admission="admitted", connected=False)
    wait_for("it comes again", lambda: hub.probe(connected=True), 75)
    feed.end()
    same_sources(hub, feed.sources(), "after it was restored")
    same(hub.get("/probes")[0]["flows_missing"], 0, "missing")
    same(ask(hub, "DELETE", probe_path(row))[0] in (200, 409), True, "forgotten, or connected yet")
    wait_for("it is gone", lambda: not hub.get("/probes") or
             ask(hub, "DELETE", probe_path(row))[0] == 200 and not hub.get("/probes"), 90)


def test_take_over(lab):
    """A machine that was built anew has a new key and the same id: it is the same probe."""
    hub = lab.hub()
    options = [*hub.options_for_probe(), "--probe-id", "vm-7", "--probe-name", "vm"]
    first = lab.probe("-i", capture(lab.path("a.pcap"), 100), *options, name="first")
    same(first.wait(60), 0, "the first ends with")
    row = wait_for("it is away", lambda: hub.probe(connected=False))
    do(hub, "PATCH", probe_path(row), {"name": "front door", "site": "north"})
    number = row["id"]

    second = lab.probe("-i", capture(lab.path("b.pcap"), 100, 100), *options, name="second")
    same(second.wait(60), 0, "the second ends with")
    claim = one(hub, namesake="front door")
    check(claim["namesake_seen_ms"] > 0 and claim["id"] != number, f"{claim}")
    taken = do(hub, "POST", probe_path(claim, "/take-over"))
    same((taken["id"], taken["name"], taken["site"]), (number, "front door", "north"), "taken over")
    same(len(hub.get("/probes")), 1, "probes")

    made = do(hub, "POST", "/tokens", {"site": "north"})  # of another site it would be one of its own
    options[options.index("--zmq-encryption-key") + 1] = made["key_string"]
    wait_for("it is away", lambda: hub.probe(connected=False))
    third = lab.probe("-i", capture(lab.path("c.pcap"), 100, 200), *options, name="third")
    same(third.wait(60), 0, "the third ends with")
    hub.kill()
    hub.again()
    rows = hub.get("/probes")
    same([(r["id"], r["name"], r["site"]) for r in rows], [(number, "front door", "north")],
         "by a token, and after a restart")
    same({f["probe"] for f in hub.flows() if f["src_ip"] >= "10.0.0.200"} -
         {number, claim["id"]}, set(), "numbers in flows")
    same(len(hub.flows()), 300, "flows")


def test_clones(lab):
    """A copied data directory: both are named within 10 s, and the flows of both are kept."""
    hub = lab.hub()
    options = hub.options_for_probe()
    made = lab.probe("-i", capture(lab.path("a.pcap"), 100, 900000), *options, name="image")
    same(made.wait(60), 0, "the image's probe ends with")
    shutil.copytree(lab.path("image"), lab.path("clone"))
    feeds = [Stream(lab, "one", options, 0, lab.path("image")),
             Stream(lab, "two", options, 300000, lab.path("clone"))]
    begin = time.monotonic()
    wait_for("the clone is named", lambda: "two running probes use" in hub.get(
        "/probes")[0]["state_text"], 15)
    print(f"      named {time.monotonic() - begin:.2f} s after both were started")
    check("two running probes use its key" in hub.log(), "in the log")
    same(hub.get("/probes")[0]["state"], "attention", "state")
    time.sleep(5)
    same(hub.log().count("two running probes use its key"), 1, "times it is in the log")
    for feed in feeds:
        feed.end()
    expected = feeds[0].sources() | feeds[1].sources()
    got = [s for s in sources(hub.flows()) if not s[0].startswith("10.13.")]
    same((len(got), set(got)), (len(expected), expected), "flows of both, each once")
    same(hub.get("/probes")[0]["flows_missing"], 0, "missing")


def test_clones_of_a_new_key(lab):
    """Copied before it ever spoke to the hub, which then hears of it from both at once: named as well."""
    hub = lab.hub()
    options = hub.options_for_probe()
    key = options[options.index("--zmq-encryption-key") + 1]
    made = lab.probe("-i", "lo", "--ntopng", "tcp://127.0.0.1:9", "--zmq-probe-mode", "--zmq-encryption-key", key,
                     name="image")
    wait_for("it has a key", lambda: os.path.exists(lab.path("image/zmq-key.pub")), 20)
    made.stop()
    shutil.copytree(lab.path("image"), lab.path("clone"))
    for name in ("image", "clone"):
        lab.probe("-i", "lo", *options, name=f"run of {name}", data_dir=lab.path(name))
    wait_for("the clones are named", lambda: [p for p in hub.get("/probes") if "two running probes use" in p[
        "state_text"]], 20)


def test_refusals(lab):
    """What does not fit is refused by name; nothing is changed by it."""
    hub = lab.hub()
    probe = lab.probe("-i", capture(lab.path("a.pcap"), 10), *hub.options_for_probe())
    same(probe.wait(60), 0, "the probe ends with")
    path = probe_path(hub.get("/probes")[0])
    for method, where, body, status in (
            ("PUT", "/admission", {"mode": "closed"}, 400), ("PUT", "/admission", {}, 400),
            ("PATCH", path, {"name": "two\nlines"}, 400), ("PATCH", path, {"site": "x" * 65}, 400),
            ("PATCH", path, {"colour": "red"}, 400), ("PATCH", "/probes/short", {}, 400),
            ("PATCH", "/probes/" + "0" * 40, {"name": "x"}, 404),
            ("POST", path + "/take-over", None, 409), ("POST", path + "/restore", None, 409),
            ("DELETE", "/probes/" + "0" * 40, None, 404),
            ("POST", "/tokens", {"uses": -1}, 400), ("POST", "/tokens", {"site": "a\tb"}, 400),
            ("POST", "/tokens", {"interface": 9}, 404),
            ("POST", "/tokens", {"address": "$(reboot)"}, 400)):
        got = ask(hub, method, where, body)
        same(got[0], status, f"{method} {where} {body}: {got[1]}")
    same(hub.get("/tokens"), [], "tokens")
    same(hub.get("/admission")["mode"], "open", "mode")


def test_roles(lab):
    """Viewers see who waits; only administrators decide, and a page elsewhere cannot for them."""
    hub = lab.hub(wait=False)
    hub.stop()
    hub.command.remove("--disable-login")
    hub.again()
    with open(os.path.join(hub.data_dir, "setup-link")) as file:
        token = urllib.parse.urlsplit(file.read().strip()).fragment
    password = "correct horse battery"
    session = do(hub, "POST", "/setup", {"token": token, "name": "ada", "password": password})
    check(session["role"] == "admin", "the first is administrator")
    with sqlite3.connect(os.path.join(hub.data_dir, "weir.sqlite")) as settings:
        settings.execute("INSERT INTO user SELECT 'vic', password_hash, 'viewer', 0 FROM user")
    settings.close()
    for name, allowed in (("ada", True), ("vic", False)):
        cookies = http.cookiejar.CookieJar()
        urllib.request.install_opener(urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(cookies)))
        csrf = do(hub, "POST", "/login", {"name": name, "password": password})["csrf_token"]
        same(ask(hub, "GET", "/admission")[0], 200, f"{name} sees the mode")
        same(ask(hub, "PUT", "/admission", {"mode": "approve"})[0], 403, "without the CSRF token")
        for method, path, body, done in (
                ("PUT", "/admission", {"mode": "approve"}, 200), ("POST", "/tokens", {}, 200),
                ("GET", "/tokens", None, 200), ("DELETE", "/tokens/1", None, 200),
                ("POST", "/probes/" + "0" * 40 + "/approve", None, 404),
                ("POST", "/probes/" + "0" * 40 + "/revoke", None, 404)):
            same(ask(hub, method, path, body, X_CSRF_Token=csrf)[0], done if allowed else 403,
                 f"{name}: {method} {path}")
    urllib.request.install_opener(urllib.request.build_opener())


main([test_approve, test_clones, test_clones_of_a_new_key, test_close_enrolment, test_refusals, test_revoke, test_roles,
      test_take_over, test_tokens])
