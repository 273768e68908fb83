"""Each check over doubles: what it finds, how much it weighs, and what it tells people to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from backstay.adapters.store.file import FileDatabase
from backstay.domain.backup import Backup, BackupKind, BackupState
from backstay.domain.check import failing
from backstay.domain.environment import Bind
from backstay.domain.lease import LEASE_TIME_S, Owner, Presence
from backstay.domain.policy import BUILT_IN, CheckSet, Level, Trial
from backstay.domain.room import Connections, Memory, Space
from backstay.pipeline.checks import subject as subject_module
from backstay.ports.engine import EngineInfo
from tests.check.conftest import PASSWORD, URL, Site

GIB = 2**30
OTHER = Owner("bob", "there", 42, 1, "boot")


def test_all_is_well(site: Site) -> None:
    found = site.checks()
    assert [id_ for id_, result in found.items() if not result.ok] == []
    assert list(found) == [
        "variables", "config", "engine", "clock", "registry", "manifest backend", "manifest frontend",
        "artifact backend", "artifact frontend", "disk", "memory", "deployment", "database",
        "database container", "connections", "scratch", "network", "ports", "bind", "proxy",
            "notify",
    ]  # fmt: skip


def test_the_basic_policy_runs_the_basic_set_and_asks_no_database(site: Site) -> None:
    site.database.unreachable = "must not be asked"
    assert list(site.checks(CheckSet.BASIC)) == [
        "variables", "config", "engine", "registry", "manifest backend", "manifest frontend",
    ]  # fmt: skip


def missing_secret(site: Site) -> None:
    del site.secrets.values["KEY"]


def login_refused(site: Site) -> None:
    site.engine.refuses = f"registry refused the login: {PASSWORD} is wrong"


def missing_tag(site: Site) -> None:
    site.engine.missing = {"reg.example/shop-backend:v2"}


def wrong_architecture(site: Site) -> None:
    site.engine.platforms = ("linux/arm64", "linux/s390x")


def no_migrate_command(site: Site) -> None:
    site.engine.present, site.engine.commands = True, {"sh"}


def disk_full(site: Site) -> None:
    site.host.spaces["/"] = Space("/", 1, 10 * 2**20, 10**6)


def out_of_inodes(site: Site) -> None:
    site.host.spaces["/"] = Space("/", 1, 100 * GIB, 3)


def limit_beyond_the_host(site: Site) -> None:
    site.host.of_memory = Memory(GIB // 4, GIB // 8)


def little_memory(site: Site) -> None:
    site.host.of_memory = Memory(16 * GIB, GIB // 4)


def database_down(site: Site) -> None:
    site.database.unreachable = f"cannot sign in: connection refused ({URL})"


def few_connections(site: Site) -> None:
    site.database.connections = Connections(limit=20, reserved=3, used=12, mine=10)


def no_scratch_server(site: Site) -> None:
    site.scratches.fault = "a scratch server of PostgreSQL 15 is needed, but none is installed here"


def named_network_missing(site: Site) -> None:
    site.owns_network = False
    site.engine.networks_missing = True


def no_ports(site: Site) -> None:
    site.engine.ports = 1


def bind_taken(site: Site) -> None:
    site.router.taken = {8080}


def no_haproxy(site: Site) -> None:
    site.router.unusable = "haproxy is not installed"


def skew(site: Site) -> None:
    site.engine.time = site.clock.now().timestamp() - 42.0


FAULTS: list[tuple[Callable[[Site], None], dict[str, str], str]] = [
    (missing_secret, {"variables": "error"}, "missing: KEY"),
    (login_refused, {"registry": "error"}, "[redacted] is wrong"),
    (missing_tag, {"manifest backend": "error"}, "has no reg.example/shop-backend:v2"),
    (
        wrong_architecture,
        {"artifact backend": "error", "artifact frontend": "error"},
        "engine runs linux/amd64",
    ),
    (no_migrate_command, {"artifact backend": "error"}, "no 'python', which migrates backend"),
    (disk_full, {"disk": "error"}, "10.0 MiB free, needed"),
    (out_of_inodes, {"disk": "error"}, "3 inodes free, needed"),
    (limit_beyond_the_host, {"memory": "error"}, "more than the host has"),
    (little_memory, {"memory": "warning"}, "256.0 MiB are available"),
    (database_down, {"database": "error"}, "connection refused ([redacted])"),
    (
        few_connections,
        {"connections": "warning"},
        "5 of 20 connections are free, one more slot needs about 10",
    ),
    (no_scratch_server, {"scratch": "error"}, "of PostgreSQL 15 is needed"),
    (named_network_missing, {"network": "error"}, "no network 'shop-uat'"),
    (no_ports, {"ports": "error"}, "1 of the 2 loopback ports"),
    (bind_taken, {"bind": "error"}, "taken by nginx (pid 7)"),
    (no_haproxy, {"proxy": "error"}, "not installed"),
    (skew, {"clock": "warning"}, "42.0 s behind ours"),
]


@pytest.mark.parametrize(("spoil", "severities", "words"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_fault_is_found_by_its_own_check_alone(
    site: Site, spoil: Callable[[Site], None], severities: dict[str, str], words: str
) -> None:
    spoil(site)
    found = site.faults()
    assert {id_: result.severity for id_, result in found.items()} == severities
    assert all(words in result.detail for result in found.values())
    assert "hunter" not in repr(found)
    assert not site.engine.containers or site.engine.removed


def test_all_faults_at_once_are_told_at_once(site: Site) -> None:
    for spoil, _, _ in FAULTS:
        if spoil not in (limit_beyond_the_host, no_migrate_command):
            spoil(site)
    wanted = {id_ for spoil, found, _ in FAULTS for id_ in found}
    # An image the registry does not show cannot be looked into; these need a database that answers.
    assert wanted - set(site.faults()) == {"artifact backend", "connections", "scratch"}


def test_an_engine_that_is_down_is_told_once_and_what_needs_it_is_not_checked(site: Site) -> None:
    site.engine.down = True
    assert list(site.faults()) == ["engine"]
    skipped = [
        id_ for id_, r in site.checks().items() if r.detail == "not checked: the engine does not answer"
    ]
    assert skipped == [
        "clock", "registry", "manifest backend", "manifest frontend", "artifact backend", "artifact frontend",
        "database container", "network", "ports",
    ]  # fmt: skip


def test_an_engine_that_hangs_is_told_in_time_and_the_rest_reports(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_module, "ENGINE_S", 0.3)
    released = threading.Event()

    def hang() -> EngineInfo:
        released.wait(20)
        return EngineInfo("1", "1", "linux/amd64")

    monkeypatch.setattr(site.engine, "info", hang)
    began = time.monotonic()
    found = site.faults()
    took = time.monotonic() - began
    released.set()
    assert list(found) == ["engine"]
    assert "did not answer within 0.3 s" in found["engine"].detail and found["engine"].hint
    assert took < 10


@pytest.mark.parametrize("trial", list(Trial))
def test_a_scratch_server_is_looked_for_where_one_is_wanted(site: Site, trial: Trial) -> None:
    no_scratch_server(site)
    site.policy = replace(site.policy, rehearsal=trial, verify=Trial.OFF)
    assert ("scratch" in site.faults()) == (trial is not Trial.OFF)
    site.components = {name: replace(each, migrate=()) for name, each in site.components.items()}
    assert ("scratch" in site.faults()) == (trial is Trial.ALWAYS)


def test_every_failure_says_what_next(site: Site) -> None:
    for spoil in (
        missing_secret,
        wrong_architecture,
        disk_full,
        little_memory,
        few_connections,
        no_scratch_server,
        no_ports,
        skew,
    ):
        spoil(site)
    assert all(result.hint for result in site.faults().values())


def test_without_registry_secrets_the_variables_are_to_blame_and_not_the_registry(site: Site) -> None:
    del site.secrets.values["REGISTRY_PASSWORD"]
    found = site.checks()
    assert [id_ for id_, result in found.items() if not result.ok] == ["variables"]
    assert found["registry"].detail == "not checked: the secret REGISTRY_PASSWORD is not set"


def test_nothing_named_and_nothing_live_leaves_the_images_unchecked(site: Site) -> None:
    site.version = None
    found = site.checks()
    assert found["manifest backend"].detail == "not checked: nothing is live yet"
    assert found["manifest backend"].severity == "notice" and found["manifest backend"].hint


def test_a_tag_that_moved_since_it_was_pinned_is_found(site: Site) -> None:
    subject = site.subject
    pinned = subject.images["backend"]
    subject.images = {"backend": replace(pinned, digest="sha256:" + "0" * 64)}
    from backstay.pipeline.check import run_checks
    from backstay.pipeline.checks import checks_of

    found = {r.id: r for r in run_checks(checks_of(subject), site.clock, subject.redact)}
    assert not found["manifest backend"].ok and "pushed the tag again" in str(found["manifest backend"].hint)
    assert found["manifest frontend"].detail == "not checked: it stays as it is live"


def test_disk_adds_up_what_lands_on_one_filesystem(site: Site) -> None:
    site.engine.root, site.engine.layers = "/engine", 2 * GIB
    site.host.spaces["/engine"] = Space("/engine", 2, 17 * GIB, 10**6)
    assert "disk" not in site.faults()
    # Two images of 2 GiB packed need 16 GiB; with the last backup on the same disk it is too much.
    site.host.spaces = {"/": Space("/", 2, 17 * GIB, 10**6)}
    lease = site.store.take_lease("shop", "uat", OTHER, "backup", None)
    site.store.add_backup(
        lease.token,
        Backup("b1", "shop", "uat", "2026-11-23T10:00:00.000Z", BackupKind.LOGICAL, BackupState.UNVERIFIED, GIB,
               "/b1.dump", "00", "x"),
    )  # fmt: skip
    site.store.release_lease(lease)
    assert "image of backend 8.0 GiB + image of frontend 8.0 GiB" in site.faults()["disk"].detail


def test_a_rehearsal_needs_room_for_its_copies_of_the_database(site: Site) -> None:
    site.host.spaces = {"/": Space("/", 2, 3 * GIB, 10**6)}
    site.database.bytes = GIB
    assert "disk" not in site.faults()
    site.database.bytes = 2 * GIB
    assert "scratch copies 4.0 GiB" in site.faults()["disk"].detail
    site.policy = replace(site.policy, rehearsal=Trial.OFF, verify=Trial.OFF)
    assert "disk" not in site.faults()
    site.policy = replace(site.policy, rehearsal=Trial.ALWAYS)
    site.database.bytes = None
    assert "room a scratch copy of the database needs is not known" in site.checks()["disk"].detail


def test_what_cannot_be_known_of_the_disk_is_said(site: Site) -> None:
    site.engine.root, site.engine.layers = "/engine", None
    site.host.spaces["/engine"] = None
    found = site.checks()["disk"]
    assert (found.ok, found.severity) == (True, "notice")
    assert "the size of backend's layers is not known" in found.detail
    assert "/engine cannot be looked at" in found.detail


def test_storage_that_is_read_only_is_the_engines_fault(site: Site) -> None:
    site.engine.root = "/engine"
    site.host.spaces["/engine"] = Space("/engine", 2, 100 * GIB, 10**6, read_only=True)
    assert "read-only" in site.faults()["engine"].detail


def test_somebody_elses_deployment_is_named_with_since_and_until(site: Site) -> None:
    site.store.take_lease("shop", "uat", OTHER, "deploy v9", None)
    found = site.faults()["deployment"]
    for words in (
        "bob@there (pid 42)",
        "for deploy v9",
        "since 2026-11-23T10:00:00",
        "until 2026-11-23T10:10:00",
    ):
        assert words in found.detail
    assert found.severity == "error"


def test_an_environment_that_lives_on_another_control_host_is_not_ready(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.pipeline.home.home_of", lambda *_: "there")
    assert site.checks()["deployment"].ok, "nobody else uses a store in a file"
    monkeypatch.setattr(FileDatabase, "is_shared", True)
    found = site.faults()["deployment"]
    assert "lives on control host there" in found.detail and "run this on there" in (found.hint or "")


def test_our_own_lock_is_no_fault(site: Site) -> None:
    site.token = site.store.take_lease("shop", "uat", OTHER, "deploy v2", None).token
    assert site.checks()["deployment"].ok


@pytest.mark.parametrize("gone", ["dead", "expired elsewhere"])
def test_a_lock_that_anybody_may_take_over_is_no_fault(site: Site, gone: str) -> None:
    site.store.take_lease("shop", "uat", OTHER, "deploy v9", None)
    if gone == "dead":
        site.host.presences[42] = Presence.GONE
    else:
        site.host.presences[42] = Presence.UNKNOWN
        site.clock.sleep(LEASE_TIME_S + 1)
    assert site.checks()["deployment"].ok


def test_a_strict_environment_wants_tls_on_an_open_bind_unless_it_accepts(site: Site) -> None:
    site.policy, site.bind = BUILT_IN[Level.STRICT], Bind("", 443)
    found = site.checks(CheckSet.STRICT)
    assert (found["config"].ok, found["config"].severity) == (False, "warning")
    assert [r.id for r in failing(found.values(), CheckSet.STRICT, ())] == ["config"]
    assert failing(found.values(), CheckSet.STRICT, ("config",)) == []
