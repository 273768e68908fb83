"""The smoke tests of what an environment serves now, through its public route."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from backstay.domain.environment import Environment
from backstay.domain.kinds import judge_tls
from backstay.domain.smoke import Finding, Kind
from backstay.domain.step import StepState
from backstay.errors import UsageError
from backstay.pipeline.containers import look_at_containers
from backstay.pipeline.questions import Look, Looks, of_release
from backstay.pipeline.smoke import Ask, Question, ask_publicly
from backstay.pipeline.status import Ports
from backstay.ports.store import Reader

OBEYED = frozenset({StepState.DONE, StepState.UNDOING, StepState.UNDONE})
"""States of a router step after which the router knows its nonce; a reversal leaves it there."""


def of_environment(ports: Ports, environment: Environment) -> tuple[Sequence[Question], Ask]:
    """All kinds that apply, whatever the policy: who asks by hand wants to know. UsageError when nothing serves."""
    slots = ports.store.slots(environment.app, environment.name)
    live, serving = slots.live, slots.serving
    release = ports.store.release(serving.release) if serving else None
    if live is None or serving is None or release is None:
        raise UsageError(
            f"nothing is live in {environment.name}",
            hint=f"backstay deploy {environment.name} --version VERSION",
        )
    since = datetime.fromisoformat(serving.since)
    looks = Looks(
        tls=_certificate(ports, environment.url),
        containers=lambda: look_at_containers(ports.engine, serving.placements, since),
    )
    questions = of_release(release, environment, ports.prober, wanted=frozenset(Kind), looks=looks)
    nonce = nonce_of(ports.store, environment)
    return questions, ask_publicly(ports.prober, environment.bind, live, nonce)


def _certificate(ports: Ports, url: str | None) -> Look | None:
    """A look at the certificate that people see at the environment's address."""
    parts = urlsplit(url or "")
    host, port = parts.hostname, parts.port or 443
    if parts.scheme != "https" or host is None:
        return None

    def look() -> Finding:
        return judge_tls(ports.prober.certificate(host, port), ports.clock.now().timestamp())

    return look


def nonce_of(store: Reader, environment: Environment) -> str | None:
    """What makes the router say which slot answered: the nonce of the last deployment that set it up."""
    for deployment in reversed(store.history(environment.app, environment.name)):
        routed = any(s.name == "router" and s.state in OBEYED for s in store.steps(deployment.id))
        record = store.snapshot(deployment.id) if routed else None
        if record and "nonce" in record:
            return str(record["nonce"])
    return None
