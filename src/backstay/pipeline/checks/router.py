"""What the router needs: its program, its addresses, a network, and ports for the containers behind it."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.domain.environment import Bind
from backstay.errors import CheckFailed, EngineError
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks.subject import Subject


def proxy(subject: Subject) -> Check:
    return Check("proxy", lambda: Finding(f"haproxy {subject.router.version()} is installed"))


def network(subject: Subject) -> Check:
    def look() -> Finding:
        environment = subject.environment
        engine = subject.answering()
        try:
            found = engine.network(environment.network, create=False, labels={})
        except EngineError:
            if environment.owns_network:
                return Finding(f"{environment.network} will be made by the first deploy", Severity.NOTICE)
            raise
        return Finding(f"{found.name}, the host is {found.gateway} there")

    return Check("network", look)


def ports(subject: Subject) -> Check:
    def look() -> Finding:
        first, last = subject.environment.ports
        wanted = len(subject.images or subject.components)
        free = subject.answering().free_ports((first, last), wanted)
        if free < wanted:
            raise CheckFailed(
                f"{free} of the {wanted} loopback ports that one more slot needs are free in {first}-{last}",
                hint=f"widen environments.{subject.environment.name}.ports, or end what listens there: ss -ltnp",
            )
        return Finding(f"{wanted} loopback ports for one more slot are free in {first}-{last}")

    return Check("ports", look)


def bind(subject: Subject) -> Check:
    def look() -> Finding:
        binds = _binds(subject)
        subject.router.refuse_taken(binds)
        return Finding(f"{' and '.join(str(each) for each in binds)}: ours, or free")

    return Check("bind", look)


def _binds(subject: Subject) -> tuple[Bind, ...]:
    """The public address, and the one on the network's gateway when there is a network already."""
    environment = subject.environment
    try:
        gateway = subject.answering().network(environment.network, create=False, labels={}).gateway
    except (EngineError, NotChecked):
        return environment.binds(None)
    return environment.binds(gateway)
