"""Stories of the process engine, through the command line, HAProxy and real processes."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from backstay.adapters.host import start_time
from devtools.demo.host import workers_of
from tests.real.plain import PlainApp

pytestmark = pytest.mark.skipif(
    not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()), reason="HAProxy is not installed"
)
_numbers = count(1)


@pytest.fixture
def app() -> Iterator[PlainApp]:
    with PlainApp(f"plain{os.getpid()}x{next(_numbers)}") as made:
        made.release("v1")
        made.release("v2")
        yield made


def _until(true: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_from_v1_to_v2_and_back_without_a_failed_request(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    assert app.migrations == ["v1 began", "v1 ended"]
    with app.load() as load:
        load.until(lambda seen: seen.requests > 20)
        answer = app.deploy("v2")
        assert answer.status == 0, answer.err
        assert app.serving() == "v2"
        assert app.run("rollback", "dev", "--json").status == 0
        assert app.serving() == "v1"
        report = load.stop()
    assert report.failed == 0, report.table()
    assert set(report.by_release) == {"v1", "v2"}
    assert sorted(p.labels["backstay.slot"] for p in app.processes()) == ["blue", "green"]
    status = app.status()
    assert status["drift"] == []
    image = status["live"]["components"]["web"]["image"]
    assert image.startswith(f"{app.folder}/releases/v1@sha256:")


def test_a_release_that_is_never_healthy_is_refused(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    app.release("v3", sick=True)
    answer = app.deploy("v3")
    assert (answer.status, answer.last["state"]) == (20, "failed")
    assert "/health answered 503" in answer.last["reason"]
    assert "its last output: serving v3 with [redacted]" in answer.last["reason"]
    assert app.serving() == "v1"
    assert len(app.processes()) == 1


def test_a_release_that_dies_in_its_bake_is_reversed_at_its_first_death(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    file = app.folder / "backstay.yml"
    file.write_text(file.read_text().replace("bake: 2s", "bake: 20s"))
    app.release("v5", dies_after_s=8)
    answer = app.deploy("v5")
    assert (answer.status, answer.last["state"]) == (20, "rolled_back")
    assert answer.last["reason"] == "web died and cannot restart"
    [death] = [line for line in answer.lines if line.get("kind") == "component_died"]
    assert death["message"] == "web ended with 3; its last output:"
    assert death["data"]["output"] == ["serving v5 with [redacted]"]
    assert app.serving() == "v1"


def test_a_failing_migration_leaves_the_old_release_alone(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    app.release("v6", migration_ends_with=7)
    answer = app.deploy("v6")
    assert (answer.status, answer.last["failed_step"]) == (20, "migrate")
    assert "the migration of web ended with 7" in answer.last["reason"]
    assert app.serving() == "v1"
    assert len(app.processes()) == 1


def test_a_migration_outlives_its_worker_and_runs_once(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    app.release("v7", migrates_for_s=3)
    assert app.run("deploy", "dev", "--version", "v7", "--detach").status == 0
    _until(lambda: "v7 began" in app.migrations)
    [worker] = workers_of(app.home)
    os.kill(worker, signal.SIGKILL)
    _until(lambda: start_time(worker) is None)
    answer = app.deploy("v2")  # recovers first
    assert answer.status == 0, answer.err
    assert app.migrations.count("v7 began") == 1
    assert app.serving() == "v2"


def test_a_version_without_a_folder_is_refused_before_anything_happens(app: PlainApp) -> None:
    answer = app.deploy("v9")
    assert answer.status == 10
    assert f"there is no release folder {app.folder}/releases/v9" in answer.err
    assert app.processes() == []


def test_check_looks_at_release_folders_and_asks_no_docker(
    app: PlainApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{app.folder}/no-engine.sock")
    ready = app.run("check", "dev", "--version", "v1", "--json")
    assert (ready.status, ready.last["ok"]) == (0, True), ready.out
    [found] = [check for check in ready.last["checks"] if check["id"] == "manifest web"]
    assert f"{app.folder}/releases/" in found["detail"]
    missing = app.run("check", "dev", "--version", "v9", "--json")
    assert missing.status == 10
    [lacking] = [check for check in missing.last["checks"] if check["fails"]]
    assert lacking["detail"] == f"there is no release folder {app.folder}/releases/v9"
    assert "put version v9 there" in lacking["hint"]
    assert not app.home.exists(), "looking writes nothing"


def test_a_deploy_whose_streams_are_closed_deploys(app: PlainApp) -> None:
    line = f"exec {shlex.join(app.argv('deploy', 'dev', '--version', 'v1'))} <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], env=app.env, cwd=app.folder, timeout=120, check=False)
    assert done.returncode == 0
    assert app.serving() == "v1"


def test_who_waits_for_the_switch_alone_gets_a_true_last_line(app: PlainApp) -> None:
    last = app.deploy("v1", "--wait", "switched").last
    assert (last["state"], last["exit_status"]) == ("baking", 0)
    assert 0 < last["switch_s"] < 5


def test_a_folder_that_changed_since_it_was_live_is_not_gone_back_to(app: PlainApp) -> None:
    """The warm slot still runs what was deployed; only a new start would run something else."""
    for version in ("v1", "v2"):
        assert app.deploy(version).status == 0
    app.release("v8")
    assert app.deploy("v8").status == 0
    (app.folder / "releases" / "v1" / "rules.json").write_text('{"sick": true}')
    answer = app.run("rollback", "dev", "--to", "v1", "--json")
    assert (answer.status, answer.last["failed_step"]) == (21, "pull")
    assert "has changed" in answer.last["reason"]
    assert app.serving() == "v8"


def test_the_engine_of_a_living_environment_does_not_change(app: PlainApp) -> None:
    assert app.deploy("v1").status == 0
    file = app.folder / "backstay.yml"
    file.write_text(
        file.read_text()
        .replace("engine: process", "engine: docker")
        .replace("    port: 8000", "    image: x\n    port: 8000")
    )
    answer = app.run("rollback", "dev")
    assert answer.status == 2, answer.err
    assert app.status()["live"]["release"] == "v1"  # asked of the engine that runs it
    assert app.status()["drift"] == []
