"""Commands that only ask: they show what the store knows, and leave not a byte behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backstay import wiring
from backstay.domain.deployment import DeploymentState
from backstay.domain.slot import Slot, Slots
from backstay.domain.step import StepState
from backstay.testing import FakeDatabase, FakeEngine, FakeProber, FakeRouter
from tests.cli.conftest import Backstay
from tests.store.samples import APP, ENV, StillClock, backup, begun, owner, release, slots, store_at

QUESTIONS = [
    "status", "status prod", "status dev", "status prod --json", "history prod", "history prod --json",
    "history dev", "show d1", "show d1 --json", "events d1", "events d1 --json", "events d1 --follow",
    "plan prod --version v3", "plan prod --version v3 --json", "plan prod --version v3 --component backend",
    "deploy prod --version v3 --dry-run", "deploy prod --version v3 --dry-run --json",
    "rollback prod --dry-run", "rollback prod backend --dry-run --json", "rollback prod --to v1 --dry-run",
    "lock show prod", "lock show prod --json", "recover --dry-run", "recover prod --dry-run --json",
    "config check", "config check --json", "config show prod", "config schema", "version",
]  # fmt: skip


@dataclass
class Doubles:
    """The world outside, in memory."""

    engine: FakeEngine
    router: FakeRouter
    prober: FakeProber


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Doubles:
    made = Doubles(FakeEngine(), FakeRouter(), FakeProber())
    monkeypatch.setattr(wiring, "engine", lambda *_: made.engine)
    monkeypatch.setattr(wiring, "router", lambda where, app, environment: made.router)
    monkeypatch.setattr(wiring, "prober", lambda: made.prober)
    return made


@pytest.fixture
def history(home: Path) -> Iterator[Path]:
    """A state folder in which v1 and then v2 went live in prod."""
    home.mkdir()
    clock = StillClock()
    with closing(store_at(home / "state.db", clock)) as store:
        for id_, version in (("d1", "v1"), ("d2", "v2")):
            lease = begun(store, id_, version)
            store.move(lease.token, id_, DeploymentState.RUNNING)
            store.step(lease.token, id_, "check", StepState.STARTED)
            store.step(lease.token, id_, "check", StepState.DONE, took_s=0.25)
            store.tell(lease.token, id_, "step_done", "checked", step="check", data={"output": ["a line"]})
            store.move(
                lease.token, id_, DeploymentState.SUCCEEDED,
                exit_status=0, total_s=75.0, release=release(version).id,
            )  # fmt: skip
            serving = replace(slots().mappings[Slot.BLUE], release=release(version).id, version=version)
            store.save_slots(lease.token, APP, ENV, Slots(Slot.BLUE, {Slot.BLUE: serving}))
            store.release_lease(lease)
            clock.advance(3600)
        lease = store.take_lease(APP, ENV, owner(), "backup", None)
        store.add_backup(lease.token, backup())
        store.release_lease(lease)
    yield home


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every file and folder below, with content, mode, inode and time of change."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        have = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        found[str(path)] = (digest, have.st_mode, have.st_ino, have.st_mtime_ns, have.st_ctime_ns)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_changes_nothing(
    backstay: Backstay, history: Path, doubles: Doubles, folder: Path, question: str
) -> None:
    before = everything(folder.parent)
    assert backstay(*question.split()).status == 0
    assert everything(folder.parent) == before
    assert not doubles.engine.containers and not doubles.router.flips and not doubles.router.loaded


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_makes_no_state_where_there_is_none(
    backstay: Backstay, home: Path, doubles: Doubles, question: str
) -> None:
    assert backstay(*question.split()).status in (0, 2)
    assert not home.exists()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_beside_a_writer(
    backstay: Backstay, history: Path, doubles: Doubles, question: str
) -> None:
    with closing(store_at(history / "state.db")) as store:
        assert backstay(*question.split()).status == 0
        assert store.lease(APP, ENV) is None


@pytest.mark.parametrize("question", ["status prod", "plan prod --version v3", "history prod"])
def test_without_an_engine_nothing_is_changed_either(
    backstay: Backstay, history: Path, question: str
) -> None:
    before = everything(history)
    assert backstay(*question.split()).status in (0, 10, 20)
    assert everything(history) == before


def test_history_is_newest_first_and_limited(backstay: Backstay, history: Path) -> None:
    rows = backstay("history", "prod", "--json").document
    assert [row["deployment"] for row in rows] == ["d2", "d1"]
    assert rows[0]["steps"][0]["name"] == "check" and rows[0]["state"] == "succeeded"
    assert [r["deployment"] for r in backstay("history", "prod", "--limit", "1", "--json").document] == ["d2"]
    text = backstay("history", "prod").out
    assert text.index("d2") < text.index("d1") and "1 min 15 s" in text


def test_show_and_events(backstay: Backstay, history: Path) -> None:
    document = backstay("show", "d2", "--json").document
    assert document["components"]["backend"] == release("v2").components["backend"].reference
    assert "check          done" in backstay("show", "d2").out
    events = [json.loads(line) for line in backstay("events", "d2", "--json").out.splitlines()]
    assert [event["kind"] for event in events][-1:] == ["step_done"]
    assert {"seq", "at", "deployment", "kind", "step", "message", "data"} <= set(events[0])
    assert "| a line" in backstay("events", "d2").out


def test_status_shows_the_records_and_what_differs(
    backstay: Backstay, history: Path, doubles: Doubles
) -> None:
    document = backstay("status", "prod", "--json").document
    assert document["live"]["slot"] == "blue" and document["live"]["release"] == "v2"
    assert document["last_backup"]["state"] == "unverified" and document["lock"] is None
    assert any(d["what"] == "router" for d in document["drift"])
    assert "DRIFT" in backstay("status", "prod").out


def test_a_plan_names_digests_origins_and_steps(backstay: Backstay, history: Path, doubles: Doubles) -> None:
    document = backstay("plan", "dev", "--version", "v3", "--json").document
    assert document["kind"] == "deploy" and document["previous"] is None and document["slot"] == "blue"
    backend = document["components"]["backend"]
    assert backend["origin"] == "new" and "shop-backend:v3@sha256:" in backend["image"]
    assert document["steps"][0] == "check" and "switch" in document["steps"]
    part = backstay("plan", "prod", "--version", "v3", "--component", "frontend", "--json").document
    assert part["components"]["frontend"]["origin"] == "new"
    assert part["components"]["backend"]["origin"] == "live"
    assert part["release"] == "v3+backend@v2"


def test_a_dry_run_is_the_plan(backstay: Backstay, history: Path, doubles: Doubles) -> None:
    planned = backstay("plan", "prod", "--version", "v3", "--json").document
    assert backstay("deploy", "prod", "--version", "v3", "--dry-run", "--json").document == planned


def test_an_image_the_registry_lacks_is_a_failed_check(
    backstay: Backstay, home: Path, doubles: Doubles
) -> None:
    doubles.engine.missing.add("registry.example/shop-backend:v9")
    done = backstay("plan", "dev", "--version", "v9", "--json")
    assert done.status == 10
    assert done.document["reason"] == "the registry has no registry.example/shop-backend:v9"
    assert not home.exists()


@pytest.mark.parametrize("question", ["check prod", "check prod --version v3 --json", "check dev"])
def test_a_check_changes_nothing_whatever_it_finds(
    backstay: Backstay,
    history: Path,
    doubles: Doubles,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    question: str,
) -> None:
    monkeypatch.setattr(wiring, "database", FakeDatabase)
    before = everything(folder.parent)
    outcome = backstay(*question.split())
    assert outcome.status in (0, 10) and "engine" in outcome.out and outcome.err == ""
    assert everything(folder.parent) == before
    assert not doubles.engine.containers
