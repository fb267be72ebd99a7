#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 180 s
"""Every answer of the REST API against the document it is described by; refusals in words; who may
ask; metrics that can be read."""
import hashlib
import http.client
import json
import os
import re
import ssl
import urllib.parse

from _e2e import captures, check, free_ports, main, matches, same, wait_for

def filled(lab):
    hub = lab.hub()
    for name in ("tcp.pcap", "udp.pcap", "ipv6.pcap"):
        capture = [c for c in captures() if c.endswith("/" + name)][0]
        same(lab.probe("-i", capture, *hub.options_for_probe(), name=name).wait(60), 0, name)
    check(len(hub.flows()) > 10, "the captures hold flows")
    return hub


def test_document(lab):
    """Each GET of the document, asked as it says; the answer fits its schema."""
    hub = filled(lab)
    document = hub.get("/openapi.json")
    with open(os.path.join(os.environ.get("WEIR_SOURCE", "."), "spec/openapi.json")) as file:
        same(document, json.load(file), "the document served")
    asked = 0
    key = urllib.parse.quote(hub.get("/probes")[0]["key"], safe="")
    for path, item in document["paths"].items():
        operation = item.get("get")
        if not operation or operation.get("x-weir-stream"):
            continue
        if path == "/exporters/{id}":  # here are none; e2e-collect-exporters.py has some
            continue
        answer = operation["responses"]["200"]["content"]
        status, body = hub.fetch("/api/v1" + path.replace("{id}", "1").replace("{interface}", "1").replace("{key}", key))
        same(status, 200, f"{path}: {body[:300]!r}")
        if "application/json" in answer:
            wrong = matches(json.loads(body), answer["application/json"]["schema"], document)
            check(not wrong, f"{path}: {wrong}")
        asked += 1
    check(asked >= 14, f"{asked} operations asked")
    for path in ("/flows", "/top", "/timeseries"):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"][
            "application/json"]["schema"]
        for value in variants(document, path):
            answer = hub.get(path, from_=0, **value)
            wrong = matches(answer, schema, document)
            check(not wrong, f"{path} {value}: {wrong}")


def variants(document, path):
    """Each word of each parameter that has words."""
    for parameter in document["paths"][path]["get"]["parameters"]:
        for word in parameter["schema"].get("enum", []):
            yield {parameter["name"]: word}
    if path == "/flows":
        for field in [*document["components"]["schemas"]["Flow"]["properties"], "total_octets",
                      "total_packets", "duration_ms"]:
            yield {"sort": field, "order": "asc", "limit": 3}


def test_sums(lab):
    """top, series and pages add up to the flows."""
    hub = filled(lab)
    flows = hub.flows()
    octets = sum(f["octets"] + f["rev_octets"] for f in flows)
    for by in ("app_name", "protocol", "dst_port", "vlan", "probe"):
        top = hub.get("/top", from_=0, by=by, limit=1000)
        same(sum(r["octets"] + r["rev_octets"] for r in top["rows"]), octets, f"octets by {by}")
        same(sum(r["flows"] for r in top["rows"]), len(flows), f"flows by {by}")
        same((top["total_octets"], top["total_flows"]), (octets, len(flows)), f"totals by {by}")
        largest = [r["octets"] + r["rev_octets"] for r in top["rows"]]
        same(largest, sorted(largest, reverse=True), f"order by {by}")
    hosts = hub.get("/top", from_=0, by="host", limit=1000)["rows"]
    same(sum(r["octets"] for r in hosts), octets, "what all hosts sent")
    same(sum(r["rev_octets"] for r in hosts), octets, "what all hosts received")
    first = min(f["last_ms"] for f in flows)
    last = max(f["last_ms"] for f in flows)
    step = max(1000, (last - first) // 100)
    for limit in (1, 3, 50):
        series = hub.get("/timeseries", from_=first, to=last + 1, by="app_name", limit=limit,
                         step_ms=step)
        same(sum(sum(s["values"]) for s in series["series"]), octets, f"octets over {limit} series")
        check(len(series["series"]) <= limit + 1, "series and Other")
        check(all(len(s["values"]) == len(series["times_ms"]) for s in series["series"]), "steps")
        same([t % step for t in series["times_ms"]], [0] * len(series["times_ms"]), "aligned")
    same([s["key"] for s in hub.get("/timeseries", from_=first, to=last + 1, limit=1,
                                    step_ms=step)["series"]][1:], ["Other"], "the rest")
    page = hub.get("/flows", from_=0, sort="total_octets", limit=2, offset=1)
    sizes = sorted((f["octets"] + f["rev_octets"] for f in flows), reverse=True)
    same([f["octets"] + f["rev_octets"] for f in page["flows"]], sizes[1:3], "second page")
    same(page["total"], len(flows), "total")
    some = flows[0]
    filter_ = f"src_ip = {some['src_ip']} and dst_port = {some['dst_port']}"
    expected = [f for f in flows if (f["src_ip"], f["dst_port"]) == (some["src_ip"],
                                                                     some["dst_port"])]
    same(hub.get("/flows", from_=0, filter=filter_)["total"], len(expected), filter_)


def test_refusals(lab):
    hub = filled(lab)
    document = hub.get("/openapi.json")
    rows = [
        ("/flows", {"limit": "0"}, 400, "limit"), ("/flows", {"limit": "x"}, 400, "limit"),
        ("/flows", {"sort": "nonsense"}, 400, "sort"), ("/flows", {"order": "up"}, 400, "order"),
        ("/flows", {"filter": "nonsense = 1"}, 400, "filter"),
        ("/flows", {"filter": "octets >"}, 400, "filter"),
        ("/flows", {"filter": "src_ip = '); DROP TABLE flows; --"}, 400, "filter"),
        ("/flows", {"from": "10", "to": "5"}, 400, "from"),
        ("/flows", {"from": "-1"}, 400, "from"), ("/flows", {"unknown": "1"}, 400, "unknown"),
        ("/top", {"by": "nonsense"}, 400, "by"),
        ("/timeseries", {"from": "1700000000000", "to": str(2 ** 42), "step_ms": "1000"}, 400,
         "step"),
        ("/interfaces/0", {}, 404, "interface"), ("/interfaces/2", {}, 404, "interface"),
        ("/interfaces/x", {}, 400, "id"), ("/interfaces/1", {"address": "a b"}, 400, "address"),
        ("/nonsense", {}, 404, ""),
    ]
    for path, query, code, word in rows:
        status, body = hub.fetch("/api/v1" + path, **query)
        same(status, code, f"{path} {query}: {body[:300]!r}; status")
        answer = json.loads(body)
        wrong = matches(answer, {"$ref": "#/components/schemas/Error"}, document)
        check(not wrong, f"{path} {query}: {wrong}")
        text = json.dumps(answer["error"])
        check(word in text, f"{path} {query}: {word!r} is not in {text}")


def test_metrics(lab):
    hub = filled(lab)
    status, body = hub.fetch("/metrics")
    same(status, 200, "status")
    lines = body.decode().splitlines()
    same(lines[-1], "# EOF", "end")
    types, samples = {}, {}
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            check(name not in types, f"{name} is declared twice")
            types[name] = kind
        elif not line.startswith("#"):
            found = re.fullmatch(r'([a-z_]+)(\{([a-z_]+="(\\.|[^"\\])*",?)+\})? (-?\d+)', line)
            check(found, f"not a sample: {line}")
            name = found[1]
            base = name[:-6] if name.endswith("_total") else name
            check(base in types, f"{line} has no type")
            same(name.endswith("_total"), types[base] == "counter", f"{line} is a counter")
            samples[base] = samples.get(base, 0) + int(found[5])
    n = len(hub.flows())
    for name in ("weir_hub_flows_stored", "weir_probe_flows_stored", "weir_interface_flows"):
        same(samples.get(name), n, name)


def ask(hub, method, path, body=None, cookie=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", hub.web_port, timeout=30)
    if body is not None:
        headers["Content-Type"] = "application/json"
    if cookie:
        headers["Cookie"] = cookie
    connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None,
                       {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, json.loads(text) if text else None, answer.getheader("Set-Cookie")


def scrape(hub, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", hub.web_port, timeout=30)
    connection.request("GET", "/metrics", headers={k.replace("_", "-"): v
                                                   for k, v in headers.items()})
    return connection.getresponse().status


def test_login(lab):
    """Setup link, login, CSRF, logout; without a session nothing but what is public."""
    hub = lab.hub(wait=False)
    hub.stop()
    hub.command.remove("--disable-login")
    hub.again()
    for path in ("/flows", "/interfaces", "/live", "/probes", "/status", "/live/events"):
        same(ask(hub, "GET", path)[0], 401, path)
    same(scrape(hub), 200, "metrics, asked on this machine")
    same(scrape(hub, X_Forwarded_For="192.0.2.1"), 401, "metrics, asked through a proxy here")
    with open(os.path.join(hub.data_dir, "setup-link")) as file:
        link = file.read().strip()
    token = urllib.parse.urlsplit(link).fragment
    check(link.startswith(f"http://127.0.0.1:{hub.web_port}/"), link)
    check(link in hub.log(), "the link is printed")
    same(ask(hub, "GET", "/setup")[1], {"needed": True}, "setup")
    credentials = {"name": "ada", "password": "correct horse battery"}
    same(ask(hub, "POST", "/setup", {"token": "wrong" * 8, **credentials})[0], 403, "wrong token")
    status, session, cookie = ask(hub, "POST", "/setup", {"token": token, **credentials})
    same(status, 200, f"setup: {session}")
    same(ask(hub, "GET", "/setup")[1], {"needed": False}, "setup afterwards")
    cookie = cookie.split(";")[0]
    same(ask(hub, "GET", "/interfaces", cookie=cookie)[0], 200, "with the session")
    same(ask(hub, "POST", "/logout", {}, cookie=cookie)[0], 403, "logout without CSRF token")
    same(ask(hub, "POST", "/logout", {}, cookie=cookie, X_CSRF_Token=session["csrf_token"])[0],
         200, "logout")
    same(ask(hub, "GET", "/interfaces", cookie=cookie)[0], 401, "after logout")
    same(ask(hub, "POST", "/login", {"name": "ada", "password": "wrong"})[0], 401, "wrong password")
    status, session, cookie = ask(hub, "POST", "/login", credentials)
    same(status, 200, "login")
    same(session["role"], "admin", "role")
    same(ask(hub, "GET", "/flows", cookie=cookie.split(";")[0], Host="evil.example")[0] in (400,
         403, 421), True, "another Host is refused")
    hub.stop()
    hub.again()
    same(ask(hub, "GET", "/interfaces", cookie=cookie.split(";")[0])[0], 200, "after a restart")


def test_https(lab):
    """-W makes a certificate once and keeps it."""
    port = free_ports(1)
    hub = lab.hub("-W", str(port))
    seen = []
    for _ in range(2):
        pem = wait_for("a certificate", lambda: ssl.get_server_certificate(("127.0.0.1", port)))
        seen.append(hashlib.sha256(pem.encode()).hexdigest())
        hub.stop()
        hub.again()
    same(seen[0], seen[1], "certificate after a restart")
    same(os.stat(os.path.join(hub.data_dir, "tls.key")).st_mode & 0o777, 0o600, "mode of its key")


main([test_document, test_sums, test_refusals, test_metrics, test_login, test_https])
