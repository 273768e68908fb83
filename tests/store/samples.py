"""Things to store, and a clock that stands still until it is told to move."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from backstay.adapters.store import SqlStore, open_store
from backstay.adapters.store.location import Location
from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.environment import Bind, DatabaseSource, Environment
from backstay.domain.lease import Lease, Owner, Uptime
from backstay.domain.policy import BUILT_IN, Level
from backstay.domain.release import Component, Health, Release, Route
from backstay.domain.slot import Placement, Slot, SlotMapping, Slots
from backstay.domain.smoke import Expectation, SmokeTest

APP, ENV = "shop", "prod"


class StillClock:
    """Implements ports.clock.Clock; only `advance`, `sleep` and `jump` move it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
        self.boot_id = "0a1b"
        self.jumped_s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def uptime(self) -> Uptime:
        return Uptime(self.boot_id, self.at.timestamp() - self.jumped_s)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.jumped_s += seconds
        self.at += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def owner(name: str = "anna", pid: int = 4711) -> Owner:
    return Owner(name=name, host="control", pid=pid, started=123456, boot_id="0a1b")


def release(version: str = "v1") -> Release:
    backend = Component(
        name="backend",
        image="registry.example/shop-backend",
        version=version,
        digest="sha256:" + "ab" * 32,
        port=8000,
        health=Health(path="/healthz", headers={"Host": "shop.example"}, deadline_s=120),
        command=("gunicorn", "shop.wsgi"),
        env={"LANG": "C.UTF-8", "NAME": "Tür"},
        secrets=("SECRET_KEY",),
        migrate=("python", "manage.py", "migrate"),
        volumes=("media:/media",),
        memory=512 * 1024 * 1024,
    )
    frontend = Component("frontend", "registry.example/shop-web", version, "sha256:" + "cd" * 32, 80)
    return Release(
        APP,
        version,
        {"backend": backend, "frontend": frontend},
        (Route("/", "frontend"), Route("/api", "backend")),
    )


def environment() -> Environment:
    expect = Expectation(
        status=200, json={"$.ok": True, "$.n": [1, 2.5, None]}, header={"X-A": "b"}, under_s=2
    )
    return Environment(
        app=APP,
        name=ENV,
        network="shop-prod",
        owns_network=True,
        bind=Bind("", 8080),
        policy=BUILT_IN[Level.STRICT],
        ports=(20000, 20999),
        backups="/srv/backups",
        secrets_file="/etc/backstay/shop.env",
        database=DatabaseSource("DATABASE_URL", "BACKUP_URL"),
        smoke=(SmokeTest("home", "/", headers={"A": "b"}, expect=expect),),
    )


def deployment(id_: str = "d1", version: str = "v1") -> Deployment:
    return Deployment(
        id=id_,
        app=APP,
        environment=ENV,
        kind=DeploymentKind.DEPLOY,
        state=DeploymentState.PENDING,
        version=version,
        release=None,
        previous=None,
        token=None,
        requested_by="anna@control",
        created_at="2026-03-01T12:00:00.000Z",
    )


def slots() -> Slots:
    placement = Placement("backend", "c0ffee", "shop-prod-backend-1", 20001, "v1")
    blue = SlotMapping(
        release().id, "v1", {"backend": placement}, deployment="d1", since="2026-03-01T12:00:00.000Z"
    )
    green = replace(blue, version="v2", placements={})
    return Slots(Slot.GREEN, {Slot.BLUE: blue, Slot.GREEN: green})


def backup(id_: str = "shop_prod_20260301_120000000") -> Backup:
    return Backup(
        id=id_,
        app=APP,
        environment=ENV,
        created_at="2026-03-01T12:00:00.000Z",
        kind=BackupKind.LOGICAL,
        state=BackupState.UNVERIFIED,
        bytes=5 * 1024**3,
        path="/srv/backups/x.dump",
        sha256="ef" * 32,
        reason="deploy v1",
        deployment="d1",
    )


def store_at(place: Location, clock: StillClock | None = None) -> SqlStore:
    return open_store(place, clock or StillClock())


def raw(store: SqlStore, statement: str, **values: object) -> None:
    """Change the store by hand, as it might look after somebody did, or another version."""

    def write() -> None:
        with store.database.transaction() as connection:
            connection.execute(text(statement), values)

    store.database.until_done(write)


def begun(store: SqlStore, id_: str = "d1", version: str = "v1", replaces: Lease | None = None) -> Lease:
    return store.begin(
        deployment(id_, version),
        release(version),
        environment(),
        owner(),
        f"deploy {version}",
        {"config": "/srv/shop/backstay.yml", "fingerprints": {"SECRET_KEY": "abc"}},
        replaces=replaces,
    )
