# SPDX-License-Identifier: Apache-2.0
"""Everything a hub has, by its REST API: `fetch.py PORT FILE`, run in the hub's namespace. FILE gets
one row a flow (ROW); standard output one JSON object with the gaps and the probes.

Flows are asked for in order of their last packet, each page from where the one before ended."""
import http.client
import json
import struct
import sys
import time
import urllib.parse

from ledger import flow_id

ROW = struct.Struct("<QIIQ")  # id, packets, octets (both directions), received_ms
FOREIGN = (1 << 64) - 1  # not one of the generator's
LIMIT = 1000
END = 2 ** 43


class Rest:
    def __init__(self, port):
        self.port, self.connection = port, None

    def get(self, path, **query):
        """One answer; a hub that is busy is asked again"""
        url = "/api/v1" + path + "?" + urllib.parse.urlencode(query)
        for turn in range(20):
            try:
                if not self.connection:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                                 timeout=60)
                self.connection.request("GET", url)
                answer = self.connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    return json.loads(body)
                problem = f"{answer.status} {body[:300]!r}"
                if answer.status != 503:
                    break
            except (OSError, http.client.HTTPException) as error:
                problem, self.connection = repr(error), None
            time.sleep(0.2 * (turn + 1))
        sys.exit(f"GET {url}: {problem}")


def number(ip):
    parts = ip.split(".")
    return int.from_bytes(bytes(map(int, parts)), "big") if len(parts) == 4 else 0


def row(flow):
    found = flow_id(number(flow["src_ip"]), flow["src_port"])
    return ROW.pack(FOREIGN if found is None else found, flow["packets"] + flow["rev_packets"],
                    flow["octets"] + flow["rev_octets"], flow["received_ms"])


def pages(rest):
    """Every flow once, as long as nothing is stored meanwhile"""
    at_ms = 0
    while True:
        page = rest.get("/flows", **{"from": at_ms}, to=END, sort="last_ms", order="asc",
                        limit=LIMIT)
        flows = page["flows"]
        if page["total"] <= LIMIT:
            yield flows
            return
        last_ms = flows[-1]["last_ms"]
        yield [flow for flow in flows if flow["last_ms"] < last_ms]
        if last_ms == at_ms:  # a millisecond with more flows than a page
            yield from millisecond(rest, at_ms)
            last_ms += 1
        at_ms = last_ms


def millisecond(rest, at_ms):
    offset, total = 0, 1
    while offset < total:
        page = rest.get("/flows", **{"from": at_ms}, to=at_ms + 1, sort="flow_id", order="asc",
                        limit=LIMIT, offset=offset)
        total = page["total"]
        offset += len(page["flows"])
        yield page["flows"]


def gaps(rest):
    found, total = [], 1
    while len(found) < total:
        page = rest.get("/gaps", limit=LIMIT, offset=len(found))
        total = page["total"]
        found += page["gaps"]
    return found


def main():
    rest = Rest(int(sys.argv[1]))
    total = rest.get("/flows", **{"from": 0}, to=END, limit=1)["total"]
    n = 0
    with open(sys.argv[2], "wb") as file:
        for flows in pages(rest):
            file.write(b"".join(map(row, flows)))
            n += len(flows)
    if n != total:
        sys.exit(f"{n} flows came in pages, the hub counts {total}")
    json.dump({"gaps": gaps(rest), "probes": rest.get("/probes")}, sys.stdout)


if __name__ == "__main__":
    main()
