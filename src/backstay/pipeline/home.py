"""Where an environment lives, when several control hosts share one store.

Its router, its state folder and, with a local engine, its containers are on one host. Any other may look, lock, abort
and tell; but what it deployed would stand behind a second router, beside the one that serves.
"""

from __future__ import annotations

from backstay.errors import UsageError
from backstay.ports.host import Host
from backstay.ports.store import Reader

HOST = "host"
"""The key under which a deployment's record names the control host that works on it."""


def home_of(store: Reader, app: str, environment: str) -> str | None:
    """The host that worked on the environment's router last; None when none did, or long ago."""
    for deployment in reversed(store.history(app, environment)):
        if deployment.token is not None and any(step.name == "router" for step in store.steps(deployment.id)):
            host = (store.snapshot(deployment.id) or {}).get(HOST)
            return host if isinstance(host, str) else None
    return None


def elsewhere(store: Reader, host: Host, app: str, environment: str) -> str | None:
    """The home of the environment when that is another host than this one; None when this one may act."""
    if not store.is_shared:
        return None
    home = home_of(store, app, environment)
    return home if home != host.owner().host else None


def refuse_elsewhere(store: Reader, host: Host, app: str, environment: str) -> None:
    """UsageError on any host but the one where the environment lives."""
    home = elsewhere(store, host, app, environment)
    if home is not None:
        raise UsageError(
            f"{environment} of {app} lives on control host {home}, where its router is; this is {host.owner().host}",
            hint=f"run this on {home}; should that host be gone for good, give its name to the one that replaces it",
            state="nothing was changed",
        )
