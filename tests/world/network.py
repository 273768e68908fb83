"""The engine's own bridge and packet rules, apart from those of any other engine of the machine.

The engine itself writes no packet rules: at its start it would empty the chains of a system engine. Two
chains of our own let containers out and back. Ports published on a loopback address are carried by the
engine's proxy process, as they are in any installation.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from tests.world.commands import run, succeeds, tool
from tests.world.errors import WorldError
from tests.world.state import NetworkPlan

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
OTHER_ENGINES = ("docker0", "bsw")


def plan() -> NetworkPlan:
    """Choose a bridge name and a private /16 that nothing on this machine uses."""
    links = _links()
    number = next((n for n in range(100) if f"bsw{n}" not in links), None)
    pool = next((p for p in _candidates() if not any(p.overlaps(used) for used in _used())), None)
    if number is None or pool is None:
        raise WorldError("no free bridge name or private address range is left on this machine")
    first = next(pool.subnets(new_prefix=24))
    return NetworkPlan(
        bridge=f"bsw{number}",
        gateway=str(first[1]),
        subnet=str(first),
        pool=str(pool),
        chain=f"BACKSTAY-BSW{number}",
        forwarding_was_on=FORWARDING.read_text().strip() == "1",
    )


def user_networks(network: NetworkPlan) -> str:
    """The part of the pool from which networks made by tests get their addresses."""
    return str(list(ipaddress.ip_network(network.pool).subnets(new_prefix=17))[1])


def make(network: NetworkPlan) -> None:
    """Create the bridge and let its containers reach what the machine reaches."""
    ip = tool("ip")
    run([ip, "link", "add", network.bridge, "type", "bridge"])
    run([ip, "addr", "add", f"{network.gateway}/24", "dev", network.bridge])
    run([ip, "link", "set", network.bridge, "up"])
    FORWARDING.write_text("1\n")
    pool, chain = network.pool, network.chain
    for table, hook, rules in (
        ("nat", "POSTROUTING", [["-s", pool, "!", "-d", pool, "-j", "MASQUERADE"]]),
        ("filter", "FORWARD", [["-s", pool, "-j", "ACCEPT"], ["-d", pool, "-j", "ACCEPT"]]),
    ):
        _iptables(table, "-N", chain)
        for rule in rules:
            _iptables(table, "-A", chain, *rule)
        _iptables(table, "-I", hook, "1", "-j", chain)


def remove(network: NetworkPlan) -> None:
    """Take away every link with an address of the pool, our chains, and forwarding if we turned it on."""
    pool = ipaddress.ip_network(network.pool)
    for name, addresses in _links().items():
        if name == network.bridge or any(address in pool for address in addresses):
            run([tool("ip"), "link", "delete", name])
    for table, hook in (("nat", "POSTROUTING"), ("filter", "FORWARD")):
        if succeeds([tool("iptables"), "-w", "-t", table, "-S", network.chain]):
            while succeeds([tool("iptables"), "-w", "-t", table, "-D", hook, "-j", network.chain]):
                pass
            _iptables(table, "-F", network.chain)
            _iptables(table, "-X", network.chain)
    if not network.forwarding_was_on and not any(name.startswith(OTHER_ENGINES) for name in _links()):
        FORWARDING.write_text("0\n")


def leftovers(network: NetworkPlan) -> list[str]:
    """Links that still have an address of the pool."""
    pool = ipaddress.ip_network(network.pool)
    return [name for name, addresses in _links().items() if any(address in pool for address in addresses)]


def _iptables(table: str, *words: str) -> None:
    run([tool("iptables"), "-w", "-t", table, *words])


def _candidates() -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(213, 250)]


def _links() -> dict[str, list[ipaddress.IPv4Address]]:
    listed = json.loads(run([tool("ip"), "-json", "-4", "addr", "show"]) or "[]")
    names = json.loads(run([tool("ip"), "-json", "link", "show"]) or "[]")
    links: dict[str, list[ipaddress.IPv4Address]] = {link["ifname"]: [] for link in names if link}
    for link in filter(None, listed):
        links[link["ifname"]] = [ipaddress.IPv4Address(entry["local"]) for entry in link["addr_info"]]
    return links


def _used() -> list[ipaddress.IPv4Network]:
    routes = json.loads(run([tool("ip"), "-json", "-4", "route", "show", "table", "all"]) or "[]")
    targets = (route.get("dst", "default") for route in routes)
    return [ipaddress.IPv4Network(target, strict=False) for target in targets if target[0].isdigit()]
