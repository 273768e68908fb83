"""Containers: made once, adopted when they are there already, and seen as the engine sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from docker import APIClient
from docker.errors import APIError, NotFound

from backstay.adapters import loopback
from backstay.adapters.docker import faults, ports
from backstay.adapters.docker.spec import PORT_LABEL, create
from backstay.errors import EngineError
from backstay.ports.engine import Container, ContainerSpec

_OURS: Final = "backstay."
_ATTEMPTS: Final = 10
_SHORTEST_ID: Final = 12
_CONFLICT: Final = 409


def run(client: APIClient, spec: ContainerSpec) -> str:
    """Create and start the container, or adopt the one that has its name and labels; returns its id."""
    found = look(client, spec.name)
    if found is not None:
        return _adopt(client, spec, found)
    return _make(client, spec)


def look(client: APIClient, container: str) -> dict[str, Any] | None:
    """What the engine knows of a container, by name or id (at least its first 12 digits)."""
    try:
        found: dict[str, Any] = client.inspect_container(container)
    except NotFound:
        return None
    # The engine takes any beginning of an id for a name; a name such as "fe" must not hit a stranger.
    by_id = len(container) >= _SHORTEST_ID and found["Id"].startswith(container)
    return found if by_id or found["Name"] == f"/{container}" else None


def find(client: APIClient, labels: Mapping[str, str]) -> list[Container]:
    """All containers with all of `labels`; one that vanishes while we look is left out."""
    wanted = [f"{name}={value}" for name, value in labels.items()]
    listed = client.containers(all=True, filters={"label": wanted})
    seen = (look(client, each["Id"]) for each in listed)
    return [view(found) for found in seen if found is not None]


def view(found: Mapping[str, Any]) -> Container:
    """The container as Backstay speaks of it."""
    state, config = found["State"], found["Config"]
    status = state["Status"]
    running = bool(state["Running"]) and status != "restarting"
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        labels=dict(config.get("Labels") or {}),
        image=config["Image"],
        running=running,
        restarting=status == "restarting",
        exit_code=None if running or status == "created" else int(state["ExitCode"]),
        restarts=int(found.get("RestartCount", 0)),
        port=_port(found),
        started_at=state.get("StartedAt", ""),
        oom_killed=bool(state.get("OOMKilled", False)),
        address=_address(found),
    )


def has_ended(found: Container) -> bool:
    """Whether it ran and is over. One that was created and never started is not over, it has not begun."""
    return found.exit_code is not None and not found.restarting


def stop(client: APIClient, container: str, grace_s: int) -> None:
    """Ask the container to end and kill it after `grace_s`; one that is gone or has ended stays so."""
    try:
        client.stop(container, timeout=grace_s)
    except NotFound:
        return


def logs(client: APIClient, container: str, lines: int) -> list[str]:
    """The last `lines` lines of stdout and stderr, in the order in which the engine received them."""
    if lines < 1:
        return []
    written = client.logs(container, stdout=True, stderr=True, tail=lines)
    text = written.decode("utf-8", errors="replace")
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")][-lines:] if text else []


def remove(client: APIClient, container: str) -> None:
    """Remove the container with its anonymous volumes; when somebody else is at it, wait until it is gone."""
    while True:
        try:
            client.remove_container(container, v=True, force=True)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != _CONFLICT or "in progress" not in faults.explanation(error):
                raise
            time.sleep(0.1)
        else:
            return


def _adopt(client: APIClient, spec: ContainerSpec, found: Mapping[str, Any]) -> str:
    """Take over what an earlier attempt made.

    A one-off that has ended is not started again: it may be a migration, and only its exit code is wanted.
    """
    container, status = view(found), found["State"]["Status"]
    if _marks(container.labels) != _marks(spec.labels) or not spec.labels.items() <= container.labels.items():
        raise EngineError(
            f"a container named {spec.name!r} exists and was not made for this deployment; it was left alone",
            hint=f"look at it with 'docker inspect {spec.name}', then remove or rename it",
        )
    if container.running or container.restarting or (has_ended(container) and not spec.restarts):
        return container.id
    try:
        client.start(container.id)
    except APIError as error:
        if status != "created" or not ports.is_taken(faults.explanation(error)):
            raise
        # It never ran, so nothing is lost when another port is tried.
        remove(client, container.id)
        return _make(client, spec)
    return container.id


def _marks(labels: Mapping[str, str]) -> dict[str, str]:
    """Our labels; the image may have brought others. The port is chosen at creation; it tells nothing."""
    return {name: value for name, value in labels.items() if name.startswith(_OURS) and name != PORT_LABEL}


def _make(client: APIClient, spec: ContainerSpec) -> str:
    if spec.published is None:
        return _start(client, create(client, spec, None))
    tried = 0
    for port in islice(loopback.free_ports(spec.port_range, reserved_ports(client)), _ATTEMPTS):
        try:
            return _start(client, create(client, spec, port))
        except APIError as error:
            if not ports.is_taken(faults.explanation(error)):
                raise
            tried += 1
    raise ports.none_free(spec.port_range, tried)


def _start(client: APIClient, made: str) -> str:
    """Start a container just made; one that the engine cannot start never ran and is taken away."""
    try:
        client.start(made)
    except APIError:
        remove(client, made)
        raise
    return made


def reserved_ports(client: APIClient) -> set[int]:
    """Ports of our containers, also of those that do not run and will want theirs back."""
    listed = client.containers(all=True, filters={"label": PORT_LABEL})
    written = (each["Labels"].get(PORT_LABEL, "") for each in listed)
    return {int(port) for port in written if port.isdecimal()}


def _address(found: Mapping[str, Any]) -> str:
    """Its address on the network it was made for; "" when it does not run."""
    joined = (found.get("NetworkSettings") or {}).get("Networks") or {}
    return next((str(each["IPAddress"]) for each in joined.values() if each.get("IPAddress")), "")


def _port(found: Mapping[str, Any]) -> int | None:
    """The fixed host port, which also a stopped container keeps in its configuration."""
    for bindings in (found["HostConfig"].get("PortBindings") or {}).values():
        for binding in bindings or ():
            if binding.get("HostPort"):
                return int(binding["HostPort"])
    return None
