"""A bug of ours is an error id and a report, never a traceback; an expected error is neither."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from backstay import errors, wiring
from backstay.cli.interrupt import Left
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
    assert done.status == 1 and "Traceback" not in done.out + done.err
    told = re.search(r"error: internal error ([0-9a-f]{8}) \(ZeroDivisionError\)", done.err)
    assert told is not None
    report = next((home / "reports").iterdir())
    assert told[1] in report.name and f"next:  the report lies in {report}" in done.err
    assert done.document == {
        "ok": False, "deployment": None, "state": None, "failed_step": None, "exit_status": 1,
        "reason": f"internal error {told[1]} (ZeroDivisionError)", "hint": f"the report lies in {report}",
    }  # fmt: skip
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert stat.S_IMODE(report.parent.stat().st_mode) == 0o700
    assert "ZeroDivisionError: a bug" in report.read_text()


@pytest.mark.parametrize("state", ["a file", "~nobody-of-this-name"])
def test_where_the_state_folder_takes_no_report_it_lies_among_temporary_files(
    backstay: Backstay, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    home.write_text("a file where the state folder should be")
    if state != "a file":
        monkeypatch.setenv("BACKSTAY_HOME", state)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("backstay.cli.failure.tempfile", SimpleNamespace(gettempdir=lambda: tmp_path / "tmp"))
    broken(ZeroDivisionError("a bug"), monkeypatch)
    done = backstay("history", "dev")
    [report] = (tmp_path / "tmp").iterdir()
    assert done.status == 1 and f"next:  the report lies in {report}" in done.err
    assert "Traceback" not in done.err and "Traceback" in report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_where_no_report_can_be_written_at_all_that_is_said(
    backstay: Backstay, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file where the state folder should be")
    monkeypatch.setattr(
        "backstay.cli.failure.tempfile", SimpleNamespace(gettempdir=lambda: tmp_path / "gone")
    )
    broken(ZeroDivisionError("a bug"), monkeypatch)
    done = backstay("history", "dev")
    assert done.status == 1 and "no report was kept" in done.err and "Traceback" not in done.err


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
    done = backstay("history", "dev", "--json")
    assert done.status == 130 and "Traceback" not in done.err
    assert done.err.split("\n")[-2:] == ["interrupted", ""]
    assert (done.document["reason"], done.document["exit_status"]) == ("interrupted", 130)
    assert not home.exists()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt("nothing was changed"), 130, "interrupted; nothing was changed"),
        (Left(143, begun=False), 143, "ended; nothing was changed"),
        (Left(130, begun=True), 130, None),
    ],
)
def test_who_was_interrupted_before_the_work_began_is_told_that_nothing_was_changed(
    backstay: Backstay, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str | None
) -> None:
    broken(error, monkeypatch)
    done = backstay("history", "dev", "--json")
    assert done.status == status
    if said is None:
        assert (done.out, done.err) == ("", ""), "where there was work, whoever followed it has told"
    else:
        assert done.err.strip() == said and done.document["reason"] == said


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


CLOSED = [">&-", "2>&-", "<&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("how", CLOSED)
@pytest.mark.parametrize(
    ("line", "status"), [("config check", 0), ("history dev", 0), ("history nowhere", 2), ("nothing", 2)]
)
def test_a_stream_that_is_closed_ends_nothing(folder: Path, how: str, line: str, status: int) -> None:
    done = shell(f"exec {sys.executable} -m backstay {line} {how}", folder)
    assert done.returncode == status and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("how", CLOSED)
def test_what_is_opened_later_takes_no_place_of_a_closed_stream(folder: Path, how: str) -> None:
    program = (
        "import os; from backstay.cli.output import open_closed; open_closed(); "
        "print(end='', flush=True); os._exit(os.open('/', os.O_RDONLY) < 3)"
    )
    assert shell(f'exec {sys.executable} -c "{program}" {how}', folder).returncode == 0


@pytest.mark.parametrize("line", ["version", "status --json", "config schema", "--help"])
def test_a_full_disk_under_the_output_is_no_bug(folder: Path, home: Path, line: str) -> None:
    done = shell(f"exec {sys.executable} -m backstay {line} >/dev/full", folder)
    assert (done.returncode, done.stderr.splitlines()) == (1, [
        "error: standard output cannot be written: No space left on device",
        "next:  make room where it goes; what the command had done by then stays done",
    ])  # fmt: skip
    assert not home.exists()


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )


def test_colour_is_for_terminals_only(backstay: Backstay) -> None:
    assert "\x1b" not in backstay("status", "nowhere").err
