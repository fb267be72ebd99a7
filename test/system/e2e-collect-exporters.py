#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# time limit: 300 s
"""Exporters as the hub knows them: what became of all that they sent, their names, sampling and
interfaces, who is silent; and what a probe's user says of them."""
import os
import random
import re
import socket
import struct
import time

import _exporter
from _e2e import SOURCE, check, main, matches, offline, same, wait_for

FATES = ("decoded", "lost", "dropped", "no_template", "malformed", "held")


def collect(lab, hub, *options, **more):
    """A probe with a port, and where that is."""
    more_options = hub.options_for_probe() if hub else ("--json", lab.path("flows.json"))
    probe = lab.probe("--collector-port", "127.0.0.1:0", *more_options, *options, **more)
    said = wait_for("the port", lambda: re.search(r"on port (\d+)", probe.log()))
    return probe, ("127.0.0.1", int(said[1]))


def send(to, datagrams, address="127.0.0.1"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 0))
        for datagram in datagrams:
            s.sendto(datagram, to)


def exporters(hub, **query):
    """All of them, by address; the answer fits the document, and each account adds up."""
    page = hub.get("/exporters", limit=1000, **query)
    document = hub.get("/openapi.json")
    wrong = matches(page, {"$ref": "#/components/schemas/ExporterPage"}, document)
    check(not wrong, wrong)
    for one in page["exporters"]:
        same(sum(one[fate] for fate in FATES), one["sent"], f"what {one['ip']} sent")
    return {one["ip"]: one for one in page["exporters"]}


def details(hub, exporter):
    answer = hub.get(f"/exporters/{exporter['id']}")
    wrong = matches(answer, {"$ref": "#/components/schemas/ExporterDetails"}, hub.get("/openapi.json"))
    check(not wrong, wrong)
    return answer


def settled(hub, ip, **expected):
    """The exporter, once the hub has heard these numbers of it."""
    def look():
        one = exporters(hub).get(ip)
        check(one, f"{ip} is not known")
        for name, value in expected.items():
            same(one[name], value, f"{name} of {ip}")
        return one
    return wait_for(f"the numbers of {ip}", look, 15)


def some(n, first=0):
    return [_exporter.flow(i) for i in range(first, first + n)]


def v9(records, sequence, number=260, domain=0):
    return _exporter.v9([_exporter.a_set(number, _exporter.v9_data(records))], sequence, domain)


def test_every_unit_is_in_one_place(lab):
    """Flows of v5, datagrams of v9, records of IPFIX: lost, cut, waiting, given up, late."""
    hub = lab.hub()
    probe, to = collect(lab, hub, "--counters", lab.path("counters"))
    cut = bytearray(_exporter.old(5, some(3), 112))
    send(to, [_exporter.old(5, some(2), 100), _exporter.old(5, some(2), 110),  # 8 missing
              bytes(cut[:24 + 48]), _exporter.old(5, some(3), 105)], "127.0.0.5")
    five = settled(hub, "127.0.0.5", sent=15, decoded=8, lost=5, malformed=2, flows=8)
    same((five["unit"], five["versions"]), ("flows", ["NetFlow v5"]), "v5")

    template = _exporter.template(260, _exporter.V9_ELEMENTS, 0)
    send(to, [v9(some(2), 0, 261), _exporter.v9([template], 1),
              v9(some(2), 2), v9(some(2), 6)], "127.0.0.9")  # the first waits, three missing
    nine = settled(hub, "127.0.0.9", sent=7, decoded=3, lost=3, held=1, datagrams=4, flows=4)
    same((nine["unit"], nine["templates"]), ("datagrams", 1), "v9")
    send(to, [_exporter.v9([_exporter.template(261, _exporter.V9_ELEMENTS, 0)], 7)], "127.0.0.9")
    settled(hub, "127.0.0.9", sent=8, decoded=5, lost=3, held=0, flows=6)

    both = [_exporter.flow(i, rev_octets=1, rev_packets=1) for i in range(9)]
    data = _exporter.ipfix_data
    send(to, [_exporter.ipfix([_exporter.template(300, _exporter.IPFIX_ELEMENTS)], 0),
              _exporter.ipfix([_exporter.a_set(300, data(both[:2]))], 0),
              _exporter.ipfix([_exporter.a_set(301, data(both[:3]))], 2),  # waits
              _exporter.ipfix([_exporter.a_set(300, data(both[:1]))], 5),
              _exporter.ipfix([_exporter.a_set(300, data(both[:4]))], 10)], "127.0.0.10")
    settled(hub, "127.0.0.10", sent=14, decoded=7, lost=4, held=3, flows=7)
    ten = details(hub, exporters(hub)["127.0.0.10"])
    same([(d["version"], d["held"]) for d in ten["by_domain"]], [("IPFIX", 3)], "by domain")

    page = hub.fetch("/metrics")[1].decode()
    for line in ('weir_exporter_sent_total{probe="[^"]+",exporter="127.0.0.5",version="5",domain="258"} 15\n',
                 'weir_exporter_units{probe="[^"]+",exporter="127.0.0.10",version="10",domain="0",fate="held"} 3\n',
                 'weir_exporter_silent{probe="[^"]+",exporter="127.0.0.9"} 0\n'):
        check(re.search(line, page), f"no {line} in /metrics")
    same(probe.stop(), 0, "exit")
    with open(lab.path("counters")) as file:
        kept = file.read()
    # at its end nothing is held any more
    check('weir_probe_exporter_units{exporter="127.0.0.10",version="10",domain="0",fate="no_template"} 3\n'
          in kept, kept[-2000:])
    check('weir_probe_exporter_sent_total{exporter="127.0.0.5",version="5",domain="258"} 15\n' in kept, kept)


def test_accounts_of_damaged_datagrams(lab):
    """Cut, changed and in any order: whatever came, what was sent is the sum of what became of it."""
    dice = random.Random(11)
    seeds = [d for _, ds, _ in _exporter.cases() for d in ds] + 4 * _exporter.late()[0]
    damaged = []
    for _ in range(4000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(0, 4)):
            at = dice.randrange(min(len(data), 40) if dice.random() < 0.7 else len(data))
            data[at] = dice.choice((0, 1, 2, 0x7f, 0xff, dice.randrange(256)))
        damaged.append(bytes(data[:len(data) if dice.random() < 0.7 else dice.randrange(1, len(data) + 1)]))
    _exporter.pcap(lab.path("damaged.pcap"), damaged)
    offline(lab, lab.path("damaged.pcap"), "--interpret-flow-packets", "--counters", lab.path("counters"))
    sent, found = {}, {}
    with open(lab.path("counters")) as file:
        for name, who, fate, n in re.findall(
                r'^weir_probe_exporter_(sent_total|units)\{(.*?)(,fate="\w+")?\} (\d+)$', file.read(), re.M):
            into = sent if name == "sent_total" else found
            into[who] = into.get(who, 0) + int(n)
    same(found, sent, "what became of it")
    check(len(sent) > 50 and sum(sent.values()) > 4000, f"{len(sent)} accounts of {sum(sent.values())}")


def test_who_they_are(lab):
    """Names, sites, NAT, sampling, interfaces that count, networks that do not."""
    for name, lines in (("names", ["10.9.9.9\tcore 1\tOslo\n", "203.0.113.9 edge\n"]),
                        ("reforge", ["# from\tto\tinterfaces\n", "127.0.0.2\t10.9.9.9\t3\n",
                                     "127.0.0.3\t*\t8,9\n"]),
                        ("snmp", ["10.9.9.9 3 Gi0/3\n", "10.9.9.9 4 Gi0/4 uplink\n"])):
        with open(lab.path(name), "w") as file:
            file.writelines(lines)
    hub = lab.hub()
    probe, to = collect(lab, hub, "--exporter-names", lab.path("names"), "--collector-nf-reforge",
                        lab.path("reforge"), "--snmp-mappings", lab.path("snmp"), "--sampling",
                        "10.9.9.9=250,*=7", "--black-list", "192.0.2.2,198.18.0.0/255.254.0.0",
                        "--collector-passthrough", "--counters", lab.path("counters"))
    send(to, [_exporter.old(5, some(4), sampling=100)], "127.0.0.2")  # one of them is black
    send(to, [_exporter.old(5, some(4))], "127.0.0.3")
    send(to, [_exporter.old(5, some(1) + some(1, 5) + [_exporter.flow(9, src_ip="198.19.1.1")])], "127.0.0.4")
    send(to, [_exporter.sflow(some(1))])
    flows = wait_for("flows", lambda: (lambda f: f if len(f) >= 6 else None)(hub.flows()), 20)
    same(sorted((f["exporter_ip"], f["src_ip"], f["sampling"]) for f in flows),
         [("10.9.9.9", "192.0.2.1", 250), ("10.9.9.9", "192.0.2.3", 250), ("10.9.9.9", "192.0.2.4", 250),
          ("127.0.0.4", "192.0.2.1", 7), ("127.0.0.4", "192.0.2.6", 7),
          ("203.0.113.9", "192.0.2.1", 512)], "flows")
    found = wait_for("four exporters", lambda: (lambda e: e if len(e) == 4 else None)(exporters(hub)), 10)
    core, edge = found["10.9.9.9"], found["203.0.113.9"]
    same((core["name"], core["site"], core["from"]), ("core 1", "Oslo", ""), "core")
    same((core["sampling"], core["sampling_from"]), (250, "override"), "its rate")
    same((edge["name"], edge["from"], edge["versions"]), ("edge", "127.0.0.1", ["sFlow v5"]), "edge")
    same((edge["sampling"], edge["sampling_from"]), (512, "sflow"), "its rate")
    same((found["127.0.0.4"]["sampling"], found["127.0.0.4"]["sampling_from"]), (7, "override"), "the rate of who says none")
    named = wait_for("names of interfaces", lambda: [i for i in details(hub, core)["by_interface"]], 10)
    same([(i["index"], i["name"]) for i in named], [(3, "Gi0/3"), (4, "Gi0/4 uplink")], "names")
    page = hub.get("/flows", from_=0, to=2 ** 43, filter="exporter_ip = 10.9.9.9")
    same(sorted((n["kind"], n["key"], n["name"]) for n in page["names"]),
         [("interface", 3, "Gi0/3"), ("interface", 4, "Gi0/4 uplink")], "names with the flows")
    same(list(exporters(hub, search="oslo")), ["10.9.9.9"], "by search")
    same(list(exporters(hub, search="oslo", state="silent")), [], "by state")
    same(probe.stop(), 0, "exit")
    with open(lab.path("counters")) as file:
        kept = file.read()
    for line in ('flows_unwanted_total{reason="interface"} 4', 'flows_unwanted_total{reason="black_list"} 2'):
        check(f"weir_probe_collect_{line}\n" in kept, f"no {line}")


def test_rates_and_names_by_options(lab):
    hub = lab.hub()
    _, to = collect(lab, hub)
    datagrams, _ = _exporter.late()
    names = struct.pack(">HHHHHHHHH", 263, 4, 8, 1, 4, 10, 2, 82, 8)
    learn = _exporter.v9([_exporter.a_set(1, names),
                          _exporter.a_set(263, struct.pack(">IH8s", 0, 3, b"ge-0/0/3"))], 5, 5)
    send(to, datagrams + [learn])
    one = settled(hub, "127.0.0.1", flows=6, options=2, held=0)
    same((one["sampling"], one["sampling_from"]), (50, "options"), "its rate")
    named = wait_for("the name", lambda: details(hub, one)["by_interface"], 10)
    same([(i["index"], i["name"], i["counted"]) for i in named], [(3, "ge-0/0/3", False)], "names")


def test_counters_of_interfaces(lab):
    """From one sample to the next, exactly; the packets' counter goes round; a restart of the hub."""
    hub = lab.hub()
    _, to = collect(lab, hub)
    packets = 2 ** 32 - 50
    for i in range(4):
        send(to, [_exporter.sflow_counters([
            _exporter.interface_sample(7, i, 1000 * i, (packets + 40 * i) % 2 ** 32, expanded=i == 1)], sequence=i)])
        time.sleep(1.3)
    one = wait_for("the exporter", lambda: exporters(hub).get("203.0.113.9"), 10)
    same((one["interfaces"], one["flows"], one["state"]), (1, 0, "attention"), "exporter")
    seven = wait_for("four samples", lambda: (lambda i: i if i["samples"] == 4 else None)(
        details(hub, one)["by_interface"][0]), 10)
    same((seven["index"], seven["up"], seven["speed_bits"], seven["samples_missing"]), (7, True, 10 ** 9, 0), "interface")

    def sums():
        steps = hub.get(f"/exporters/{one['id']}/interfaces/7", from_=0)["steps"]
        return tuple(sum(s[k] for s in steps) for k in ("in_octets", "in_packets", "out_octets", "out_errors"))
    wait_for("the counters in the store", lambda: sums() == (3000, 120, 3000, 0), 15)
    hub.stop()
    hub.again()
    same(sums(), (3000, 120, 3000, 0), "after a restart")
    check("203.0.113.9" in exporters(hub), "the exporter is known after a restart")


def test_sums_raw_and_scaled(lab):
    """Counts are stored as they were sent, the rate beside them; a question takes either."""
    hub = lab.hub()
    _, to = collect(lab, hub, "--sampling", "127.0.0.3=1000")
    send(to, [_exporter.old(5, some(2), sampling=100)], "127.0.0.2")
    send(to, [_exporter.old(5, some(2))], "127.0.0.3")
    send(to, [_exporter.old(5, some(2))], "127.0.0.4")
    flows = wait_for("the flows", lambda: (lambda f: f if len(f) == 6 else None)(hub.flows()), 20)
    once = sum(f["octets"] for f in some(2))
    same(sum(f["octets"] for f in flows), 3 * once, "octets stored")
    for counts, times in (("raw", 3), ("scaled", 1101)):
        top = hub.get("/top", by="host", from_=0, to=2 ** 43, counts=counts)
        same(top["total_octets"], times * once, f"octets, {counts}")
        same(sum(r["octets"] for r in top["rows"]), times * once, f"octets of hosts, {counts}")
        now = int(time.time() * 1000)
        series = hub.get("/timeseries", from_=now - 3600000, to=now + 60000, by="none", step_ms=60000,
                         counts=counts)
        same(sum(sum(s["values"]) for s in series["series"]), times * once, f"series, {counts}")


def test_black_list_of_packets(lab):
    """What an address sent is as if it had not been there; what it was sent stays."""
    capture = os.path.join(SOURCE, "test", "golden", "tcp.pcap")
    before = offline(lab, capture, "--no-dpi")
    black = max((f["src_ip"] for f in before if ":" not in f["src_ip"]), key=lambda ip: sum(
        f["packets"] for f in before if f["src_ip"] == ip))
    after = offline(lab, capture, "--no-dpi", "--black-list", black)
    sent = sum(f["packets"] * (f["src_ip"] == black) + f["rev_packets"] * (f["dst_ip"] == black) for f in before)
    check(sent > 0, "it sends nothing")
    total = [sum(f["packets"] + f["rev_packets"] for f in flows) for flows in (before, after)]
    same(total[1], total[0] - sent, f"packets without those from {black}")
    network = black.rsplit(".", 1)[0] + ".0/255.255.255.0"
    check(not any(f["src_ip"] == black and f["packets"] for f in offline(lab, capture, "--no-dpi", "--black-list", network)),
          "by network and mask")


def test_observation_point(lab):
    """-E: the domain of flows that are metered, and of what leaves to collectors of others."""
    capture = os.path.join(SOURCE, "test", "golden", "tcp.pcap")
    for text, domain in (("77", 77), ("6:5", 6 * 256 + 5)):
        flows = offline(lab, capture, "--no-dpi", "-E", text)
        same({f.get("observation_domain") for f in flows}, {domain}, f"domain by -E {text}")
    check("observation_domain" not in offline(lab, capture, "--no-dpi")[0], "without -E there is none")
    for version, at in ((5, 20), (9, 16), (10, 12)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            s.settimeout(20)
            probe = lab.probe("-i", capture, "--no-dpi", "-n", f"127.0.0.1:{s.getsockname()[1]}", "-V", str(version),
                              "-E", "6:5", "--license", lab.path("none"))
            message = s.recv(65536)
            same(probe.wait(20), 0, "exit")
        found = int.from_bytes(message[at:at + (2 if version == 5 else 4)], "big")
        same(found, 6 * 256 + 5, f"engine, source id or domain of version {version}")


def test_who_is_silent(lab):
    """Within 75 s; and when its probe is away, nothing is known of it."""
    hub = lab.hub()
    probe, to = collect(lab, hub)
    send(to, [_exporter.old(5, some(2))], "127.0.0.2")
    begin = time.monotonic()
    same(settled(hub, "127.0.0.2", flows=2)["state"], "sending", "state")
    while time.monotonic() - begin < 90:
        send(to, [_exporter.old(5, some(1), int(time.monotonic() - begin))], "127.0.0.3")
        found = exporters(hub)
        if found["127.0.0.2"]["state"] == "silent":
            break
        time.sleep(1)
    took_s = time.monotonic() - begin
    check(60 <= took_s < 75, f"silent after {took_s:.0f} s: {found['127.0.0.2']}")
    check("no datagram for" in found["127.0.0.2"]["state_text"], found["127.0.0.2"]["state_text"])
    check(found["127.0.0.3"]["state"] != "silent", found["127.0.0.3"])
    same(list(exporters(hub, state="silent")), ["127.0.0.2"], "by state")
    probe.stop()
    wait_for("unknown", lambda: {e["state"] for e in exporters(hub).values()} == {"unknown"}, 15)


def probe_counter(text, name):
    return sum(int(n) for n in re.findall(rf"^weir_probe_{name}(?:\{{.*\}})? (\d+)$", text, re.M))


def test_updates_merged(lab):
    """An exporter with an active timeout tells of the same flows four times: one record each comes to
    the hub, with all that was counted; its account has each record. (Its clock is years away.)"""
    hub = lab.hub()
    probe, to = collect(lab, hub, "--collector-merge", "3600", "--counters", lab.path("counters"))
    template = _exporter.template(260, _exporter.V9_ELEMENTS, 0)
    send(to, [_exporter.v9([template], 0)], "127.0.0.9")
    for i in range(1, 5):
        later = [f | {"first_ms": f["first_ms"] + 60000 * (i - 1), "last_ms": f["last_ms"] + 60000 * (i - 1),
                      "tcp_flags": 1 << i} for f in some(20)]
        send(to, [v9(later, i)], "127.0.0.9")
    send(to, [v9(some(20), 0)], "127.0.0.8")  # of another one, whose template comes behind it
    send(to, [_exporter.v9([template], 1)], "127.0.0.8")
    settled(hub, "127.0.0.9", sent=5, decoded=5, lost=0, flows=80)
    settled(hub, "127.0.0.8", sent=2, decoded=2, lost=0, flows=20)
    same(hub.flows(), [], "flows before the time is over")
    same(probe.stop(), 0, "exit")
    flows = wait_for("the flows", lambda: (lambda f: f if len(f) >= 40 else None)(hub.flows()), 20)
    nine = [f for f in flows if f["exporter_ip"] == "127.0.0.9"]
    same(sorted((f["src_ip"], f["packets"], f["octets"], f["tcp_flags"], (f["last_ms"] - f["first_ms"]) // 10000) for f in nine),
         sorted((f["src_ip"], 4 * f["packets"], 4 * f["octets"], 0x1e, 18) for f in some(20)), "merged flows")
    eight = [f for f in flows if f["exporter_ip"] == "127.0.0.8"]
    same(sorted((f["src_ip"], f["packets"]) for f in eight), sorted((f["src_ip"], f["packets"]) for f in some(20)),
         "flows of who told them once")
    with open(lab.path("counters")) as file:
        text = file.read()
    n = {name: probe_counter(text, name) for name in
         ("collect_flows_total", "collect_flows_merged_total", "collect_flows_held_to_merge", "flows_collected_total")}
    same(list(n.values()), [100, 60, 0, 40], f"counters {n}")
    wrong = lab.probe("--collector-port", "127.0.0.1:0", "--json", "-", "--collector-merge", "5", "--collector-passthrough")
    same(wrong.wait(10), 2, "exit of a probe that is told both")


def test_merged_within_their_time(lab):
    """At a port, the time being over lets them go while nothing else comes."""
    path = lab.path("flows.json")
    probe, to = collect(lab, None, "--collector-merge", "2")
    send(to, [_exporter.old(5, some(3), 100), _exporter.old(5, some(3), 103)])
    def lines():
        with open(path) as file:
            return file.readlines()
    wait_for("three records", lambda: len(lines()) == 3, 10)
    same(probe.stop(), 0, "exit")
    same(len(lines()), 3, "records")


def test_wrong_words(lab):
    """What cannot be used is named, with its place."""
    with open(lab.path("reforge"), "w") as file:
        file.write("# nothing\n127.0.0.1\t10.0.0.300\t*\n")
    for options, part in ((("--collector-nf-reforge", lab.path("reforge")), "line 2: '10.0.0.300' is no address"),
                          (("--sampling", "192.0.2.1=0"), "EXPORTER=RATE is accepted"),
                          (("--black-list", "192.0.2.0/33"), "an address or a network is accepted"),
                          (("-E", "300:1"), "at most 255 each"), (("-E", "x"), "at most 4294967295"),
                          (("--exporter-names", lab.path("none")), "--exporter-names: ")):
        probe = lab.probe("--collector-port", "127.0.0.1:0", "--json", "-", *options)
        same(probe.wait(10), 2, f"{options}: exit")
        check(part in probe.log(), f"{options}: {probe.log()}")


if __name__ == "__main__":
    main([test_every_unit_is_in_one_place, test_accounts_of_damaged_datagrams, test_who_they_are, test_rates_and_names_by_options,
          test_counters_of_interfaces,
          test_sums_raw_and_scaled, test_black_list_of_packets, test_observation_point,
          test_updates_merged, test_merged_within_their_time, test_who_is_silent, test_wrong_words])
