"""From validated keys to the domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backstay.config import schema
from backstay.config.defaults import filled
from backstay.domain import environment as domain
from backstay.domain.backup import BackupKind
from backstay.domain.notification import Channel
from backstay.domain.policy import BackupRule, CheckSet, Level, Policy, SmokeSet, Trial, Triggers
from backstay.domain.release import Component, Health, Route
from backstay.domain.schedule import Schedule
from backstay.domain.secret import Secret
from backstay.domain.smoke import Expectation, SmokeTest
from backstay.domain.wal import Continuous


def application(config: schema.Config, name: str, path: Path, home: Path) -> domain.Application:
    """The application as the environment `name` sees it. `path` is the file, `home` the state folder."""
    full = filled(config, name, path.parent, home)
    return domain.Application(
        environment=_environment(full, name, owns_network=config.environments[name].network is None),
        components={
            each: _component(each, component, full.environments[name].engine)
            for each, component in full.components.items()
        },
        routes=tuple(Route(route.path, route.component) for route in full.routes),
        store=full.store,
        path=str(path),
        notify=_receivers(full.environments[name].notify),
    )


def _environment(full: schema.Config, name: str, *, owns_network: bool) -> domain.Environment:
    given = full.environments[name]
    return domain.Environment(
        app=full.app,
        name=name,
        network=str(given.network),
        owns_network=owns_network,
        bind=given.router.bind,
        policy=_policy(given.policy),
        ports=given.ports,
        backups=str(given.backups),
        url=given.url,
        secrets_file=given.secrets.file if given.secrets else None,
        database=_database(full.database, is_continuous=bool(given.continuous)),
        registry=_registry(full.registry) if given.engine == "docker" else None,
        engine=given.engine,
        smoke=tuple(_smoke(test) for test in full.smoke),
        channels=tuple(_channel(url) for url in _receivers(given.notify)),
        cors=tuple(given.cors.origins) if given.cors else (),
        schedule=Schedule(_cron(given.schedule.backup), _cron(given.schedule.restore_drill)),
        continuous=_continuous(full.database) if given.continuous else None,
    )


def _receivers(urls: list[str]) -> tuple[Secret, ...]:
    """The URLs in their order; one that is there twice is one receiver."""
    return tuple(Secret(url) for url in dict.fromkeys(urls))


def _channel(url: Secret) -> Channel:
    return Channel(url.reveal().partition("://")[0].lower(), url.fingerprint())


def _database(given: schema.Database | None, *, is_continuous: bool) -> domain.DatabaseSource | None:
    """Where WAL is received, backups are physical unless the file says otherwise: WAL can be replayed on no other."""
    if given is None:
        return None
    copy = given.copy_
    kind = None if given.backup == "auto" else BackupKind(given.backup)
    return domain.DatabaseSource(
        url_secret=given.url_secret,
        backup_url_secret=str(given.backup_url_secret),
        scratch=given.scratch,
        admin_url_secret=str(given.admin_url_secret),
        kind=BackupKind.PHYSICAL if kind is None and is_continuous else kind,
        encrypt_to=tuple(given.encrypt_to),
        identity_secret=given.identity_secret,
        copy=domain.CopyCommand(tuple(copy.command), tuple(copy.secrets), float(copy.deadline))
        if copy
        else None,
    )


def _continuous(given: schema.Database | None) -> Continuous | None:
    if given is None:
        return None
    return Continuous(str(given.replication_url_secret), int(given.base_after), given.canary)


def _cron(given: str) -> str | None:
    return None if given == "off" else given


def _registry(given: schema.Registry | None) -> domain.RegistrySource | None:
    return domain.RegistrySource(given.username_secret, given.password_secret) if given else None


def _component(name: str, given: schema.Component, engine: str) -> Component:
    """Without version and digest: a release supplies them. What an image is to docker, the folder is to processes."""
    health = given.health
    return Component(
        name=name,
        image=str(given.workdir if engine == "process" else given.image),
        version="",
        digest="",
        port=given.port,
        health=Health(health.path, dict(health.headers), float(health.deadline), float(health.interval)),
        command=tuple(given.command),
        env=dict(given.env),
        secrets=tuple(given.secrets),
        migrate=tuple(given.migrate),
        volumes=tuple(given.volumes),
        memory=None if given.memory is None else int(given.memory),
        stop_grace_s=float(given.stop_grace),
    )


def _smoke(given: schema.Smoke) -> SmokeTest:
    expect = given.expect
    return SmokeTest(
        name=given.name,
        path=given.path,
        method=given.method,
        headers=dict(given.headers),
        expect=Expectation(
            status=expect.status,
            json=dict(expect.json_),
            header=dict(expect.header),
            body=expect.body,
            under_s=None if expect.under is None else float(expect.under),
        ),
        deadline_s=float(given.deadline),
    )


def _policy(given: schema.Policy) -> Policy:
    every = given.smoke_every
    return Policy(
        level=Level(given.name or ""),
        checks=CheckSet(given.checks or ""),
        backup=BackupRule(given.backup or ""),
        smoke=SmokeSet(given.smoke or ""),
        bake_s=_seconds(given.bake),
        smoke_every_s=float(every) if isinstance(every, float) else None,
        accept=tuple(given.accept),
        triggers=_triggers(given.triggers),
        migrate_deadline_s=_seconds(given.migrate_deadline),
        lock_timeout_s=_seconds(given.lock_timeout),
        drain_deadline_s=_seconds(given.drain_deadline),
        hold_deadline_s=_seconds(given.hold_deadline),
        keep_replaced_s=_seconds(given.keep_replaced),
        keep_backups=given.keep_backups or 0,
        backup_deadline_s=_seconds(given.backup_deadline),
        backup_stall_s=_seconds(given.backup_stall),
        rto_s=_seconds(given.rto),
        rpo_s=_seconds(given.rpo),
        backup_checksums=bool(given.backup_checksums),
        lease_s=_seconds(given.lease),
        rehearsal=Trial(given.rehearsal or ""),
        verify=Trial(given.verify or ""),
        long_lock_s=_seconds(given.long_lock),
        longest_lock_s=_seconds(given.longest_lock),
    )


def _triggers(given: schema.Triggers) -> Triggers:
    """Keys that hold durations end in `_s` in the domain."""
    known = Triggers.__dataclass_fields__
    written: dict[str, Any] = {}
    for key in schema.Triggers.model_fields:
        value = getattr(given, key)
        written[key if key in known else f"{key}_s"] = float(value) if isinstance(value, float) else value
    return Triggers(**written)


def _seconds(value: float | None) -> float:
    if value is None:
        raise AssertionError("a policy was built before its defaults were filled in")
    return float(value)
