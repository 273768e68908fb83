"""Recognising our own processes: nothing else may ever be ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.world import processes
from tests.world.commands import clean_environment, run
from tests.world.errors import WorldError
from tests.world.layout import Layout
from tests.world.state import Mark, State

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_reused_process_id_is_not_ours(tmp_path: Path) -> None:
    mark = processes.start(SLEEP, tmp_path / "log")
    stranger = Mark(mark.pid, mark.started - 1)
    assert not processes.alive(stranger)
    processes.end({stranger})
    assert processes.alive(mark)
    processes.end({mark})
    assert not processes.alive(mark)


def test_one_that_ignores_the_request_is_ended_by_force(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deafen = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{deafen}; print('deaf', flush=True); time.sleep(60)"
    mark = processes.start([sys.executable, "-c", deaf], log)
    assert processes.wait_until(lambda: "deaf" in log.read_text(), 10)
    processes.end({mark}, grace=0.2)
    assert not processes.alive(mark)


def test_descendants_are_found_by_the_marker_they_inherit(tmp_path: Path) -> None:
    script = (
        f"import subprocess,sys,time; subprocess.Popen({SLEEP!r}, start_new_session=True); time.sleep(60)"
    )
    mark = processes.start(
        [sys.executable, "-c", script],
        tmp_path / "log",
        env={processes.MARKER_VARIABLE: "backstay-test-marker"},
    )
    assert processes.wait_until(lambda: len(processes.marked("backstay-test-marker")) == 2, 10)
    processes.end({mark})
    assert len(processes.marked("backstay-test-marker")) == 1
    processes.end(processes.marked("backstay-test-marker"))
    assert not processes.marked("backstay-test-marker")
    assert processes.marked("backstay-another-marker") == set()


def test_a_service_that_ends_while_starting_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    mark = processes.start([sys.executable, "-c", "print('no such port', flush=True)"], log)
    with pytest.raises(WorldError, match="no such port"):
        processes.await_service("thing", mark, lambda: False, log, seconds=10)


def test_variables_that_lead_elsewhere_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    monkeypatch.setenv("PGHOST", "elsewhere")
    assert not {"DOCKER_HOST", "PGHOST"} & set(clean_environment())


def test_a_failing_command_is_told_with_its_words() -> None:
    with pytest.raises(WorldError, match=r"(?s)ended with 3.*sorry"):
        run(["/bin/sh", "-c", "echo sorry; exit 3"])


def test_a_folder_too_long_for_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_WORLD", "/tmp/" + "x" * 80)
    with pytest.raises(WorldError, match="at most"):
        Layout.chosen()


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    record = tmp_path / "world.json"
    assert State.load(record) is None
    record.write_text("{")
    with pytest.raises(WorldError, match="damaged"):
        State.load(record)
