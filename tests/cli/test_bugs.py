"""A bug of ours is an error id and a report, never a traceback; an expected error is neither."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest

from backstay import errors, wiring
from backstay.errors import BackstayError, StoreError
from tests.cli.conftest import Backstay


def broken(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every command that asks the store meet `error`."""

    def fails(where: wiring.Place) -> None:
        raise error

    monkeypatch.setattr(wiring, "open_reader", fails)


def test_a_bug_becomes_an_error_id_and_a_report(
    backstay: Backstay, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(ZeroDivisionError("a bug"), monkeypatch)
    done = backstay("history", "dev", "--json")
    assert (done.status, done.out) == (1, "")
    assert "Traceback" not in done.err
    told = re.search(r"error: internal error ([0-9a-f]{8}) \(ZeroDivisionError\)", done.err)
    assert told is not None
    report = next((home / "reports").iterdir())
    assert told[1] in report.name and f"next:  the report lies in {report}" in done.err
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert stat.S_IMODE(report.parent.stat().st_mode) == 0o700
    assert "ZeroDivisionError: a bug" in report.read_text()


def test_where_no_report_can_be_written_it_is_shown(
    backstay: Backstay, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file where the state folder should be")
    broken(ZeroDivisionError("a bug"), monkeypatch)
    done = backstay("history", "dev")
    assert done.status == 1 and "ZeroDivisionError: a bug" in done.err


def test_an_expected_error_has_its_own_status_and_says_what_to_do(
    backstay: Backstay, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(StoreError("the store is damaged", hint="mend it", state="nothing was changed"), monkeypatch)
    done = backstay("history", "dev")
    assert done.status == StoreError.exit_status == 20
    assert done.err.splitlines() == [
        "error: the store is damaged",
        "state: nothing was changed",
        "next:  mend it",
    ]
    assert not home.exists()


ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackstayError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_status_and_one_document(
    backstay: Backstay, monkeypatch: pytest.MonkeyPatch, kind: type[BackstayError]
) -> None:
    broken(kind("what", hint="next"), monkeypatch)
    done = backstay("history", "dev", "--json")
    assert done.status == kind.exit_status
    assert done.document == {
        "ok": False, "deployment": None, "state": None, "failed_step": None,
        "reason": "what", "hint": "next", "exit_status": kind.exit_status,
    }  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130_without_a_report(
    backstay: Backstay, home: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    broken(error, monkeypatch)
    done = backstay("history", "dev")
    assert done.status == 130 and "Traceback" not in done.err
    assert not home.exists()


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "backstay", "config", "schema"],
            stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, cwd=folder,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_colour_is_for_terminals_only(backstay: Backstay) -> None:
    assert "\x1b" not in backstay("status", "nowhere").err
