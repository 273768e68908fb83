"""The checks, one file per subject. `checks_of` names them all, in the order in which people read them."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.domain.check import belongs
from backstay.pipeline.check import Check
from backstay.pipeline.checks.artifact import artifacts, manifests
from backstay.pipeline.checks.config import config
from backstay.pipeline.checks.database import connections, database, database_container
from backstay.pipeline.checks.deployment import deployment
from backstay.pipeline.checks.disk import disk
from backstay.pipeline.checks.engine import clock, engine, registry
from backstay.pipeline.checks.memory import memory
from backstay.pipeline.checks.notify import notify
from backstay.pipeline.checks.router import bind, network, ports, proxy
from backstay.pipeline.checks.scratch import is_wanted, scratch
from backstay.pipeline.checks.subject import Subject
from backstay.pipeline.checks.variables import variables

__all__ = ["Subject", "checks_of"]


def checks_of(subject: Subject) -> list[Check]:
    """The checks that the policy of the environment wants."""
    wanted = subject.environment.policy.checks
    return [check for check in _all(subject) if belongs(check.id, wanted)]


def _all(subject: Subject) -> Iterator[Check]:
    yield variables(subject)
    yield config(subject)
    yield engine(subject)
    yield clock(subject)
    yield registry(subject)
    yield from manifests(subject)
    yield from artifacts(subject)
    yield disk(subject)
    yield memory(subject)
    yield deployment(subject)
    if subject.environment.database is not None:
        yield database(subject)
        yield database_container(subject)
        yield connections(subject)
        if is_wanted(subject):
            yield scratch(subject)
    yield network(subject)
    yield ports(subject)
    yield bind(subject)
    yield proxy(subject)
    yield notify(subject)
