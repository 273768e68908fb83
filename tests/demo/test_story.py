"""The demo judges itself: what it must notice, and what its closing table shows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from devtools.demo import releases
from devtools.demo.story import ACTS, FIRST, NARROWEST, Act, Outcome, Told
from devtools.demo.table import show
from tests.load.record import BAD_ANSWER, OK, POST, RESET, Record
from tests.load.report import Report


def _sent(count: int, at: float, release: str = "v2", outcome: str = OK) -> list[Record]:
    return [Record(at, 0.01, POST, "/", release, outcome, 200, at, "")] * count


def _outcome(act: Act, ended: float, **document: Any) -> Outcome:
    return Outcome(act, {"state": act.state, **document}, act.status, act.serving, ended, act.verdict)


def _told(records: Sequence[Record] = (), orders: int = 700, **document: Any) -> Told:
    """A good story; the load sends 250, 200, 205 and 50 requests during its acts, of which five end badly in v4."""
    outcomes = [_outcome(act, 10.0 * n, **document) for n, act in enumerate(ACTS, 1)]
    usual = _sent(250, 5) + _sent(200, 15) + _sent(200, 25) + _sent(50, 35)
    bad = _sent(5, 26, "v4", BAD_ANSWER)
    return Told(_outcome(FIRST, 0.0), outcomes, Report((*usual, *bad, *records)), orders)


def _shown(told: Told, width: int) -> str:
    written = io.StringIO()
    show(told, 47.3, Console(file=written, width=width))
    return written.getvalue()


def test_a_good_story_has_no_faults() -> None:
    assert _told().faults == []


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (_told(_sent(1, 7, outcome=RESET)), "1 of 706 requests failed"),
        (_told(_sent(2, 7, "v2", BAD_ANSWER)), "bad answers of good releases: {'v2': 2}"),
        (_told(orders=699), "700 orders were acknowledged, the database has 699"),
        (
            _told(state="failed", reason="lost"),
            "v2, with a migration: state failed, expected succeeded: lost",
        ),
    ],
)
def test_what_went_wrong_is_told(told: Told, fault: str) -> None:
    assert fault in told.faults


def test_a_story_that_proves_nothing_is_a_fault() -> None:
    told = _told()
    told.report = Report(_sent(50, 5))
    assert "only 50 requests were sent" in told.faults
    assert "v4 gave no bad answer, so nothing was proven" in told.faults
    assert Told(_outcome(FIRST, 0.0)).faults == ["the story was not played to its end"]


def test_another_version_that_serves_and_another_exit_status_are_faults() -> None:
    act = ACTS[0]
    outcome = Outcome(act, {"state": "succeeded", "reason": None}, 1, {"backend": "v1"}, 1.0)
    assert outcome.faults == [
        "v2, with a migration: exit status 1, expected 0: None",
        "v2, with a migration: {'backend': 'v1'} serves, expected {'backend': 'v2', 'frontend': 'v2'}",
    ]


def test_the_rows_add_up() -> None:
    """Also with what was sent between two acts, and after the last one."""
    lines = _shown(_told(_sent(3, 99)), 100).splitlines()
    begins = ("v2", "v3", "v4", "v7", "v8", "back", "all")
    rows = [line.split() for line in lines if line.strip().startswith(begins)]
    assert [row[-5] for row in rows[:6]] == ["250", "200", "205", "50", "0", "3"]
    assert [row[-3] for row in rows[:6]] == ["0", "0", "5", "0", "0", "0"]
    assert rows[6] == ["all", "708", "0", "5"]


def test_a_rehearsal_that_says_something_else_is_a_fault() -> None:
    [act] = [act for act in ACTS if act.verdict == "breaking"]
    outcome = Outcome(act, {"state": act.state}, act.status, act.serving, 1.0, "compatible")
    assert outcome.faults == ["v7, breaking for v2: the rehearsal said compatible, expected breaking"]


@pytest.mark.parametrize("width", [NARROWEST, 80, 100])
def test_the_table_fits_and_cuts_nothing_off(width: int) -> None:
    shown = _shown(_told(switch_s=0.0004, rollback_s=59.9), width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert "…" not in shown
    assert "0.4 ms" in shown
    assert "59.9 s" in shown
    assert "✓ everything went as it must, in 47 s" in shown


def test_only_later_versions_carry_the_migration(tmp_path: Path) -> None:
    releases.build(tmp_path)
    migrations = {version: sorted(path.name for path in (tmp_path / version / "backend/catalog/migrations").glob("0*"))
                  for version in releases.VERSIONS}  # fmt: skip
    assert migrations["v1"] == ["0001_initial.py"]
    assert migrations["v2"] == migrations["v4"] == ["0001_initial.py", "0002_product_discount.py"]
    assert migrations["v7"] == [*migrations["v2"], "0003_drop_product_discount.py"]
    assert migrations["v8"] == [*migrations["v2"], "0003_order_once.py"]
    assert (tmp_path / "v3" / "frontend" / "serve.py").exists()
