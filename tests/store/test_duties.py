"""Schedules, drills and alarms: kept, found again, and told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.adapters.store import SqlStore, open_reader
from backstay.adapters.store.duties import KEPT_RUNS
from backstay.domain.alarm import Subject
from backstay.domain.drill import Drill, DrillKind, Proof
from backstay.domain.notification import Channel
from backstay.domain.schedule import Duty, Outcome
from tests.store import samples
from tests.store.samples import APP, ENV, StillClock

NOW = "2026-03-01T12:00:00.123Z"
CHANNELS = (Channel("slack", "f1"),)
DRILL = Drill(
    0, APP, ENV, DrillKind.RESTORE, NOW, NOW, ok=False, summary="too old", subject="b1", release="v1", rto_s=12.5,
    rpo_s=4000.0, rto_target_s=300.0, rpo_target_s=900.0, requested_by="anna@control", path="/h/drills/x.json",
    proofs=(Proof("fresh", False, "its data is 1 h old", 0.1), Proof("booted", None, "skipped")),
)  # fmt: skip


def told(store: SqlStore) -> list[tuple[str, str, str]]:
    return [(row.status, row.message, row.channel) for row in reversed(store.notifications(APP))]


def test_watching_begins_once(store: SqlStore, place: Path | str, clock: StillClock) -> None:
    assert store.watched_since(APP, ENV) is None
    since = store.watch(APP, ENV)
    clock.advance(3600)
    assert store.watch(APP, ENV) == since == open_reader(place).watched_since(APP, ENV)
    assert store.watch(APP, "uat") > since


def test_a_run_is_kept_from_its_beginning_to_its_end(
    store: SqlStore, place: Path | str, clock: StillClock
) -> None:
    due = datetime(2026, 3, 1, 2, tzinfo=UTC)
    run = store.begin_duty(APP, ENV, Duty.BACKUP, due, samples.owner())
    assert (run.outcome, run.due_at, run.began_at) == (Outcome.RUNNING, "2026-03-01T02:00:00.000Z", NOW)
    assert open_reader(place).duty_runs(APP, ENV) == [run]
    clock.advance(60)
    store.end_duty(run.id, Outcome.FAILED, "disk full")
    ended = replace(run, outcome=Outcome.FAILED, ended_at="2026-03-01T12:01:00.123Z", detail="disk full")
    assert store.duty_runs(APP, ENV, Duty.BACKUP) == [ended]
    store.end_duty(run.id, Outcome.DONE, "too late to say otherwise")
    assert store.duty_runs(APP, ENV) == [ended]


def test_runs_are_found_by_duty_newest_first(store: SqlStore) -> None:
    backup = store.begin_duty(APP, ENV, Duty.BACKUP, None, samples.owner())
    review = store.begin_duty(APP, ENV, Duty.LOG_REVIEW, None, samples.owner())
    again = store.begin_duty(APP, ENV, Duty.BACKUP, None, samples.owner())
    store.begin_duty(APP, "uat", Duty.BACKUP, None, samples.owner())
    assert store.duty_runs(APP, ENV) == [again, review, backup]
    assert store.duty_runs(APP, ENV, Duty.BACKUP) == [again, backup]
    assert store.duty_runs(APP, ENV, limit=1) == [again]


def test_very_old_runs_of_a_duty_are_forgotten_and_no_others(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.adapters.store.duties.KEPT_RUNS", 3)
    assert KEPT_RUNS > 100
    review = store.begin_duty(APP, ENV, Duty.LOG_REVIEW, None, samples.owner())
    runs = [store.begin_duty(APP, ENV, Duty.BACKUP, None, samples.owner()) for _ in range(6)]
    assert store.duty_runs(APP, ENV, Duty.BACKUP) == runs[:2:-1]
    assert store.duty_runs(APP, ENV, Duty.LOG_REVIEW) == [review]


def test_a_drill_comes_back_with_all_its_proofs(store: SqlStore, place: Path | str) -> None:
    kept = store.record_drill(DRILL)
    other = store.record_drill(replace(DRILL, kind=DrillKind.ROLLBACK, ok=True, rpo_s=None, proofs=()))
    assert kept == replace(DRILL, id=kept.id)
    assert open_reader(place).drills(APP, ENV) == store.drills(APP, ENV) == [other, kept]
    assert store.drills(APP, ENV, DrillKind.RESTORE) == [kept]
    assert store.drills(APP, "uat") == []


def test_an_alarm_is_told_once_and_once_when_it_is_mended(store: SqlStore, place: Path | str) -> None:
    assert store.raise_alarm(APP, ENV, Subject.RPO, "20 min would be lost", CHANNELS)
    assert not store.raise_alarm(APP, ENV, Subject.RPO, "25 min would be lost", CHANNELS)
    (alarm,) = open_reader(place).alarms(APP, ENV)
    assert (alarm.subject, alarm.since, alarm.message) == (Subject.RPO, NOW, "25 min would be lost")
    assert store.clear_alarm(APP, ENV, Subject.RPO, "a backup was made", CHANNELS)
    assert not store.clear_alarm(APP, ENV, Subject.RPO, "again", CHANNELS)
    assert store.alarms(APP, ENV) == []
    first, then = "20 min would be lost", "a backup was made"
    slack = "slack://[redacted]"
    assert told(store) == [
        ("alarm", first, "log"), ("alarm", first, slack), ("mended", then, "log"), ("mended", then, slack),
    ]  # fmt: skip


def test_alarms_of_several_subjects_and_environments_do_not_meet(store: SqlStore) -> None:
    assert store.raise_alarm(APP, ENV, Subject.RPO, "a", ())
    assert store.raise_alarm(APP, ENV, Subject.WAL, "b", ())
    assert store.raise_alarm(APP, "uat", Subject.RPO, "c", ())
    store.clear_alarm(APP, ENV, Subject.RPO, "d", ())
    assert [(a.environment, a.subject) for env in (ENV, "uat") for a in store.alarms(APP, env)] == [
        (ENV, Subject.WAL), ("uat", Subject.RPO),
    ]  # fmt: skip
