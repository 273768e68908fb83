"""Networks that containers join."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from docker import APIClient
from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from backstay.errors import EngineError
from backstay.ports.engine import Network

_CONFLICT = 409


def join(
    client: APIClient, name: str, create: bool, labels: Mapping[str, str], internal: bool = False
) -> Network:
    """The network `name`, created when missing and `create`; EngineError when missing or gateless."""
    found = _look(client, name)
    if found is None and create:
        _create(client, name, labels, internal)
        found = _look(client, name)
    if found is None:
        raise EngineError(
            f"the engine has no network {name!r}",
            hint=f"docker network create {name}, or leave the network out of backstay.yml to have one made",
        )
    return Network(name, _gateway(found), bool(found.get("Internal", False)))


def labelled(client: APIClient, labels: Mapping[str, str]) -> list[str]:
    """The names of the networks with all of `labels`."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    return [str(each["Name"]) for each in client.networks(filters={"label": wanted})]


def remove(client: APIClient, name: str, labels: Mapping[str, str]) -> None:
    """Remove the network if it carries all of `labels`."""
    found = _look(client, name)
    if found is None or not labels or not labels.items() <= (found.get("Labels") or {}).items():
        return
    try:
        client.remove_network(found["Id"])
    except NotFound:
        return


def _look(client: APIClient, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.inspect_network(name)
    except NotFound:
        return None
    # The engine also takes the beginning of an id for a name.
    return found if found["Name"] == name else None


def _create(client: APIClient, name: str, labels: Mapping[str, str], internal: bool) -> None:
    words: dict[str, Any] = {"driver": "bridge", "check_duplicate": True, "labels": dict(labels)}
    try:
        made = client.create_network(name, internal=internal, **words)
        if internal:
            _close(client, name, str(made["Id"]), words)
    except APIError as error:
        if error.status_code != _CONFLICT:  # somebody else made it since we looked
            raise


def _close(client: APIClient, name: str, made: str, words: Mapping[str, Any]) -> None:
    """Make the network anew, in the subnet that the engine chose, with a default route that leads nowhere.

    What the engine calls internal still leads, by the host's address there, to every other address of the host: to a
    database that listens on another bridge, or the router.
    """
    [pool] = client.inspect_network(made)["IPAM"]["Config"]
    subnet = ipaddress.ip_network(pool["Subnet"])
    client.remove_network(made)
    nobody = str(subnet.broadcast_address - 1)
    gateway = str(next(subnet.hosts()))
    config = IPAMPool(subnet=str(subnet), gateway=gateway, aux_addresses={"DefaultGatewayIPv4": nobody})
    client.create_network(name, internal=True, ipam=IPAMConfig(pool_configs=[config]), **words)


def _gateway(found: Mapping[str, Any]) -> str:
    for pool in (found.get("IPAM") or {}).get("Config") or ():
        # Some engines write the gateway with a prefix length.
        address = str(pool.get("Gateway", "")).partition("/")[0]
        if address and ipaddress.ip_address(address).version == 4:
            return address
    raise EngineError(
        f"network {found['Name']!r} (driver {found.get('Driver')}) has no IPv4 gateway, so containers on it "
        "could not reach the router",
        hint="name a bridge network in backstay.yml",
    )
