"""A wish to go back at an awkward moment: to who is nearly done, who does not hear, who goes back already."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.real.plain import PlainApp
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


@pytest.fixture
def app() -> Iterator[PlainApp]:
    with PlainApp("awkward", bake="1s") as made:
        yield made


@pytest.fixture
def tidying(app: PlainApp) -> Iterator[subprocess.Popen[bytes]]:
    """The deploy of v3, proven; it retires v1, which takes its whole grace to end. v2 served before."""
    app.release("v1", stubborn=True)
    app.release("v2")
    app.release("v3")
    assert app.deploy("v1").status == app.deploy("v2").status == 0
    with app.start("deploy", "dev", "--version", "v3") as deploying:
        assert wait_until(lambda: app.step() == "retire", 30)
        yield deploying


def test_a_rollback_while_a_proven_deployment_tidies_up_goes_back_from_it(
    app: PlainApp, tidying: subprocess.Popen[bytes]
) -> None:
    """Its worker is not disturbed: it has nothing left to reverse, and both commands end well."""
    answer = app.run("rollback", "dev")
    assert answer.status == 0 and "v3 had been proven already" in answer.err, answer.err
    assert tidying.wait(10) == 0
    assert app.serving() == "v2"
    assert app.states()[:2] == ["succeeded", "succeeded"]


def test_an_abort_that_comes_too_late_says_so(app: PlainApp, tidying: subprocess.Popen[bytes]) -> None:
    answer = app.run("abort", "dev")
    assert answer.status == 2, answer.err
    assert "too late to abort" in answer.err and "backstay rollback dev" in answer.err
    assert tidying.wait(10) == 0 and app.serving() == "v3"


def test_the_deploy_whose_worker_a_rollback_replaces_ends_with_20(app: PlainApp) -> None:
    """A probe that hangs keeps the worker from hearing, so the rollback ends it and reverses in its place."""
    app.release("v1")
    app.release("v2", hangs_after_s=2)
    assert app.deploy("v1").status == 0
    config = app.folder / "backstay.yml"
    config.write_text(config.read_text().replace("bake: 1s", "bake: 60s, triggers: {failed_probes: 30}"))
    deploying = app.start("deploy", "dev", "--version", "v2")
    assert wait_until(lambda: app.states()[:1] == ["baking"], 30)
    with pytest.raises(subprocess.TimeoutExpired):
        deploying.wait(4)
    answer = app.run("rollback", "dev")
    assert answer.status == 0, answer.err
    assert deploying.wait(20) == 20
    assert app.serving() == "v1" and app.states()[0] == "rolled_back"


def test_a_second_rollback_does_not_undo_the_first(app: PlainApp) -> None:
    app.release("v1")
    app.release("v2")
    assert app.deploy("v1").status == app.deploy("v2").status == 0
    app.held.touch()
    first = app.start("rollback", "dev")
    assert wait_until(lambda: app.step() == "public-smoke", 30)
    second = app.run("rollback", "dev")
    assert second.status == 11 and "rollback" in second.err, second.err
    app.held.unlink()
    assert first.wait(30) == 0
    assert app.serving() == "v1"


def test_what_an_application_printed_never_shows_a_secret_in_a_warm_rollback(app: PlainApp) -> None:
    """It is quoted when it does not become healthy, and nothing before that had a reason to read the secrets."""
    app.release("v1", hangs_after_s=4)
    app.release("v2")
    assert app.deploy("v1").status == app.deploy("v2").status == 0
    time.sleep(4)  # until v1 hangs
    answer = app.run("rollback", "dev")
    assert answer.status == 21 and "serving v1 with [redacted]" in answer.err, answer.err
    assert "w0rd-73xq" not in answer.err + app.run("history", "dev", "--json").out


def test_a_cold_rollback_without_a_secret_that_it_needs_is_refused_by_name(app: PlainApp) -> None:
    for version in ("v1", "v2", "v3"):
        app.release(version)
    config, secrets = app.folder / "backstay.yml", app.folder / "secrets.env"
    now, known = config.read_text(), secrets.read_text()
    secrets.write_text(known + "OLD_KEY=12345678\n")
    config.write_text(now.replace("secrets: [WORD]", "secrets: [WORD, OLD_KEY]"))
    assert app.deploy("v1").status == 0
    config.write_text(now)
    secrets.write_text(known)
    assert app.deploy("v2").status == app.deploy("v3").status == 0
    answer = app.run("rollback", "dev", "--to", "v1")
    assert answer.status == 10, answer.err
    assert "secrets missing: OLD_KEY" in answer.err and "secrets.env" in answer.err
    assert app.states() == ["succeeded"] * 3 and app.serving() == "v3"
