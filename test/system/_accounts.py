# SPDX-License-Identifier: Apache-2.0
"""What a hub answers of exporters and their flows, for tests that send by real ones."""
from _e2e import Failure, same


def sums(flows):
    return sum(f["packets"] for f in flows), sum(f["octets"] for f in flows)


def account(hub, version):
    """Of the one exporter the hub has, the domain that sends flows by this version, with its id."""
    found = hub.get("/exporters")["exporters"]
    same(len(found), 1, "exporters")
    one = hub.get(f"/exporters/{found[0]['id']}")
    for domain in one["by_domain"]:
        if domain["version"] == version and domain["flows"]:
            return domain | {"id": one["id"]}
    raise Failure(f"no domain of {version}: {one['by_domain']}")
