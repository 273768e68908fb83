"""`backstay lock` as people and jobs use it; the races with processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests.cli.conftest import Backstay
from tests.store.samples import StillClock, begun, store_at


def seconds(document: dict[str, str]) -> float:
    """How long a lock of a lock document lasts in all."""
    begin, end = (datetime.fromisoformat(document[key]) for key in ("acquired_at", "expires_at"))
    return (end - begin).total_seconds()


def test_lock_and_unlock(backstay: Backstay) -> None:
    assert backstay("lock", "show", "dev").out == "dev is not locked\n"
    done = backstay("lock", "acquire", "dev", "--purpose", "move the database")
    assert done.status == 0
    assert "dev is locked for 1 h 00 min" in done.out and "for       move the database" in done.out
    assert "backstay lock release dev" in done.out
    assert backstay("lock", "show", "dev").out.startswith("dev is locked\n  by ")
    done = backstay("lock", "release", "dev")
    assert done.status == 0 and "dev is free; it was locked by " in done.err
    again = backstay("lock", "release", "dev")
    assert (again.status, again.err) == (0, "dev was not locked\n")


def test_as_json(backstay: Backstay) -> None:
    assert backstay("lock", "show", "dev", "--json").document is None
    taken = backstay("lock", "acquire", "dev", "--for", "90s", "--json").document
    assert {"token", "owner", "purpose", "acquired_at", "expires_at"} <= set(taken)
    assert (taken["token"], taken["purpose"], taken["kind"]) == (1, "maintenance", "person")
    assert seconds(taken) == 90
    assert backstay("lock", "show", "dev", "--json").document == taken
    assert backstay("status", "dev", "--json").document["lock"] == taken
    refused = backstay("lock", "acquire", "dev", "--json")
    assert refused.status == 11 and refused.document["exit_status"] == 11
    assert taken["owner"] in refused.document["reason"] and taken["expires_at"] in refused.document["reason"]
    assert backstay("lock", "release", "dev", "--json").document == {"released": taken}
    assert backstay("lock", "release", "dev", "--json").document == {"released": None}


def test_only_the_environment_that_was_named_is_locked(backstay: Backstay) -> None:
    assert backstay("lock", "acquire", "dev").status == 0
    assert backstay("lock", "show", "prod", "--json").document is None
    assert backstay("lock", "acquire", "prod").status == 0


@pytest.mark.parametrize(
    "line", ["deploy dev --version v1", "rollback dev", "lock acquire dev", "lock acquire dev --extend"]
)
def test_others_are_told_who_and_what_for_and_how_to_free_it(
    backstay: Backstay, folder: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """In a process of its own, as these commands start workers."""
    monkeypatch.setenv("LOGNAME", "anna")
    assert backstay("lock", "acquire", "dev", "--purpose", "move the database").status == 0
    monkeypatch.setenv("LOGNAME", "bert")
    [done] = at_once(folder, 1, *line.split())
    assert (done.returncode, done.stdout) == (11, ""), done.stderr
    first, state, cure = done.stderr.splitlines()
    assert first.startswith("error: dev is locked by anna@") and " for move the database, since " in first
    assert state == "state: nothing was changed"
    assert cure.startswith("next:  backstay lock release dev ") and "--force" in cure


def test_somebody_elses_wants_force(backstay: Backstay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    backstay("lock", "acquire", "dev")
    monkeypatch.setenv("LOGNAME", "bert")
    done = backstay("lock", "release", "dev")
    assert done.status == 11 and "next:  ask anna; " in done.err
    assert backstay("lock", "show", "dev", "--json").document is not None
    done = backstay("lock", "release", "dev", "--force")
    assert done.status == 0 and "it was locked by anna@" in done.err


def test_a_deployments_lock_is_shown_and_not_released(backstay: Backstay, home: Path) -> None:
    home.mkdir()
    with store_at(home / "state.db", StillClock()) as store:
        begun(store)
    shown = backstay("lock", "show", "prod", "--json").document
    assert (shown["kind"], shown["deployment"], shown["owner"]) == (
        "process",
        "d1",
        "anna@control (pid 4711)",
    )
    assert "renewed while its process lives" in backstay("lock", "show", "prod").out
    for line in ("lock release prod", "lock release prod --force"):
        done = backstay(*line.split())
        assert done.status == 11 and "backstay abort prod" in done.err
    assert backstay("lock", "show", "prod", "--json").document == shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "2 days"], "write it like 500ms, 30s, 10m or 2h"),
        (["--for", "10"], "write it like 500ms, 30s, 10m or 2h"),
        (["--for", "0s"], "lasts from 1s to 168h"),
        (["--for", "169h"], "lasts from 1s to 168h"),
        (["--for", "-1h"], "write it like"),
        (["--purpose", ""], "one line of 1 to 200"),
        (["--purpose", "two\nlines"], "one line of 1 to 200"),
        (["--purpose", "red \x1b[31m"], "one line of 1 to 200"),
        (["--purpose", "x" * 201], "one line of 1 to 200"),
    ],
)
def test_wrong_values(backstay: Backstay, home: Path, options: list[str], said: str) -> None:
    done = backstay("lock", "acquire", "dev", *options)
    assert (done.status, done.out) == (2, "")
    assert said in done.err and "next:  " in done.err
    assert not home.exists()


def at_once(folder: Path, count: int, *words: str) -> list[subprocess.CompletedProcess[str]]:
    """Run `backstay WORDS` in `count` processes at the same time; how each ended."""
    argv = [sys.executable, "-m", "backstay", *words]
    running = [
        subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    return [
        subprocess.CompletedProcess(argv, racer.wait(timeout=120), *racer.communicate(timeout=120))
        for racer in running
    ]


def test_of_eight_that_lock_at_once_one_wins(backstay: Backstay, folder: Path) -> None:
    """All under one login, with not even a store there when they start."""
    ended = at_once(folder, 8, "lock", "acquire", "dev", "--purpose", "race", "--json")
    assert Counter(racer.returncode for racer in ended) == {0: 1, 11: 7}, [r.stderr for r in ended]
    [winner] = [json.loads(racer.stdout) for racer in ended if racer.returncode == 0]
    assert winner["token"] == 1
    for racer in ended:
        if racer.returncode == 11:
            assert f"locked by {winner['owner']} for race, since {winner['acquired_at']}" in racer.stderr
    assert backstay("lock", "show", "dev", "--json").document == winner


def test_the_lock_outlives_a_killed_command_and_a_killed_shell(backstay: Backstay, folder: Path) -> None:
    """A job that is cancelled right after it locked: the lock stands until its time is over."""
    script = f"{sys.executable} -m backstay lock acquire dev --for 2s --json; kill -9 $$"
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    taken = json.loads(done.stdout)
    assert str(os.getpid()) not in taken["owner"]
    assert backstay("lock", "acquire", "dev").status == 11
    time.sleep(max(0.0, datetime.fromisoformat(taken["expires_at"]).timestamp() - time.time()) + 0.002)
    done_again = backstay("lock", "acquire", "dev")
    assert done_again.status == 0 and " ran out at " in done_again.err
