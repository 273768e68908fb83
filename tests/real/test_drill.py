"""Drills on real parts: good ones, one that restored an old backup well, and a rollback there and back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backstay.adapters.store import open_store
from backstay.pipeline.times import rfc3339
from tests.real.served import Served
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def app(world: World) -> Iterator[Served]:
    """v1 stands by and v2 serves; there is one backup."""
    with Served(world, f"drl{os.getpid()}") as made:
        made.bake = "1s"
        for version in ("v1", "v2"):
            made.release(version)
            answer = made.deploy(version)
            assert answer.status == 0, answer.err
        yield made


def test_the_newest_backup_boots_the_live_release_and_what_that_took_is_evidence(app: Served) -> None:
    answer = app.run("drill", "restore", "dev", "--json")
    assert answer.status == 0, answer.out + answer.err
    drill = json.loads(answer.out)
    proofs = {p["part"]: p["ok"] for p in drill["proofs"]}
    assert proofs.pop("canary") is None, "no rows are written where WAL is not received"
    assert proofs == dict.fromkeys(("fresh", "restored", "verified", "booted", "smoked", "targets"), True)
    backup = app.backups()[0]
    assert (drill["release"], drill["subject"], backup.state) == ("v2", backup.id, "verified")
    assert 0 < drill["rto_s"] < drill["rto_target_s"] == 1800 and 0 <= drill["rpo_s"] < drill["rpo_target_s"]
    assert json.loads(Path(drill["path"]).read_text())["summary"] == drill["summary"]
    rto = app.status()["objectives"]["rto"]
    assert (rto["standing"], rto["actual_s"]) == ("met", drill["rto_s"])
    assert [row.id for row in app.store.drills(app.name, "dev")] == [drill["drill"]]
    duties = {row["duty"]: row for row in app.document("duty", "list", "dev")["duties"]}
    assert duties["restore-drill"]["state"] == "done" and duties["rollback-drill"]["state"] == "due"
    assert len(app.processes()) == 2, "live and standby; nothing of the drill is left"


def test_an_old_backup_restored_well_is_a_failed_drill(app: Served) -> None:
    """All of it works but the one thing: two days would be lost, and a day is allowed."""
    with open_store(app.home / "state.db") as store:
        for backup in store.backups(app.name, "dev"):
            old = datetime.now(UTC) - timedelta(days=2)
            store.change_backup(backup.id, created_at=rfc3339(old))
    answer = app.run("drill", "restore", "dev", "--json")
    assert answer.status == 30
    drill = json.loads(answer.out)
    failed = [p["part"] for p in drill["proofs"] if p["ok"] is False]
    assert failed == ["fresh", "targets"] and "48 h" in drill["summary"]


def test_a_rollback_there_and_back_under_load_fails_nothing(app: Served) -> None:
    with app.load() as load:
        load.until(lambda seen: seen.requests > 30)
        answer = app.run("drill", "rollback", "dev", "--json")
        report = load.stop()
    assert answer.status == 0, answer.out + answer.err
    drill = json.loads(answer.out.splitlines()[-1])
    assert [p["part"] for p in drill["proofs"]] == ["web healthy", "rolled back", "rolled forth"]
    assert (drill["subject"], drill["release"]) == ("v1", "v2") and drill["rto_s"] > 0
    assert app.serving() == "v2"
    assert report.failed == 0 and report.requests > 100, report.table()
