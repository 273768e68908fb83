"""The database: reached from here, reached from a container, and with connections for both slots."""

from __future__ import annotations

from backstay.domain.check import Severity
from backstay.errors import BackstayError, CheckFailed
from backstay.pipeline.check import Check, Finding, NotChecked
from backstay.pipeline.checks import probe
from backstay.pipeline.checks.address import DatabaseAddress
from backstay.pipeline.checks.subject import Subject
from backstay.ports.engine import Container, ContainerSpec

CONTAINER_S = 15.0
ANSWER_S = 5.0
HINT = "is the server up, and does it listen for this host (listen_addresses, pg_hba.conf, firewall)?"


def database(subject: Subject) -> Check:
    def look() -> Finding:
        return Finding(f"PostgreSQL {subject.reached().version} is reached from here")

    return Check("database", look, hint=HINT)


def connections(subject: Subject) -> Check:
    """Both slots are connected for a while: as many connections again as the live slot has now."""

    def look() -> Finding:
        try:
            have = subject.reached().connections
        except NotChecked:
            raise
        except BackstayError:
            raise NotChecked("the database is not reached from here") from None
        wanted = max(1, have.mine)
        numbers = f"{have.free} of {have.limit} connections are free, one more slot needs about {wanted}"
        if have.free < wanted:
            return Finding(
                numbers,
                Severity.WARNING,
                "raise max_connections (or the limit of the role or database), or put a pooler in front",
            )
        return Finding(numbers)

    return Check("connections", look)


def database_container(subject: Subject) -> Check:
    return Check("database container", lambda: _from_container(subject), CONTAINER_S, HINT)


def _from_container(subject: Subject) -> Finding:
    address = subject.address()
    if address.is_socket:
        raise NotChecked("its URL names a socket, not a host")
    engine = subject.answering()
    image = _local_image(subject)
    name = subject.environment.network
    try:
        engine.network(name, create=False, labels={})
    except BackstayError:
        raise NotChecked(f"network {name} is not there yet") from None
    made = engine.run(_spec(subject, image, address))
    try:
        code = engine.wait(made.id, ANSWER_S)
        return _judged(address, code, engine.logs(made.id, probe.LINES))
    finally:
        engine.remove(made.id)


def _judged(address: DatabaseAddress, code: int | None, output: list[str]) -> Finding:
    if code in probe.NO_TOOL:
        raise NotChecked("the image has no shell, or no tool that connects (bash, python3, nc)")
    where = f"{address} from a container"
    if code is None:
        raise CheckFailed(f"nothing answers at {where} within {ANSWER_S:g} s", hint=_reach(address))
    answer = probe.judge(output, address.wants_tls, code)
    if answer.refusal is not None:
        hint = "allow the network of the containers, the role and the database in pg_hba.conf, then reload"
        raise CheckFailed(
            f"the server at {where} refuses: {answer.refusal}",
            hint=hint if "pg_hba" in answer.refusal else None,
        )
    if not answer.reached:
        raise CheckFailed(f"cannot reach {where}: {answer.trouble}", hint=_reach(address))
    return Finding(f"{address} answers a container on the environment's network")


def _reach(address: DatabaseAddress) -> str:
    return (
        f"let PostgreSQL listen for containers (listen_addresses in postgresql.conf, pg_hba.conf) and open port "
        f"{address.port}; 'localhost' means the container itself, the host is host.docker.internal"
    )


def _local_image(subject: Subject) -> str:
    """An image that is here: one that will start, else one that serves. First of a component with the database's
    secret, as its base has the tools that the application needs."""
    engine, environment = subject.engine, subject.environment
    assert environment.database is not None
    secret = environment.database.url_secret
    for wanted in sorted(subject.images.values(), key=lambda w: secret not in w.component.secrets):
        if wanted.digest and (local := engine.held(wanted.component.image, wanted.digest)):
            return local
    serving = subject.store.slots(environment.app, environment.name).serving
    placements = serving.placements.values() if serving else ()
    for placement in sorted(
        placements, key=lambda p: secret not in getattr(subject.components.get(p.component), "secrets", ())
    ):
        running: Container | None = engine.inspect(placement.container)
        if running is not None:
            return running.image
    raise NotChecked("no image of the application is here yet; a check never pulls")


def _spec(subject: Subject, image: str, address: DatabaseAddress) -> ContainerSpec:
    environment = subject.environment
    return ContainerSpec(
        name=f"{environment.app}-{environment.name}-check-{subject.id}",
        image=image,
        network=environment.network,
        labels={
            "backstay.app": environment.app,
            "backstay.environment": environment.name,
            "backstay.deployment": subject.id,
            "backstay.role": "check",
        },
        entrypoint=("sh",),
        command=probe.command(address),
        restarts=False,
    )
