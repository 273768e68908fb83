"""Nobody's leaving harms a deployment, and who asks for an abort gets a safe one: signals, runners, cut connections."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backstay.domain.deployment import Wish
from devtools.demo.host import workers_of
from tests.real.plain import PlainApp
from tests.real.sshd import Sshd, cut
from tests.real.workers import until_no_worker_runs

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def app() -> Iterator[PlainApp]:
    """v1 serves; a new version gets a minute to become healthy. Every abort leaves it as it was for the next story."""
    with PlainApp(f"cancel{os.getpid()}", bake="1s") as made:
        file = made.folder / "backstay.yml"
        file.write_text(file.read_text().replace("deadline: 5s", "deadline: 60s"))
        made.release("v1")
        assert made.deploy("v1").status == 0
        yield made


def test_a_runner_that_cancels_its_job_gets_a_safe_abort(app: PlainApp) -> None:
    """Ctrl-C, 7.5 s later SIGTERM, 2.5 s later SIGKILL. The worker may not end a migration half-way, so it takes longer
    than the runner has patience, and is not disturbed by that."""
    app.release("v2", migrates_for_s=15)
    with app.load() as load:
        client = started(app, "deploy", "dev", "--version", "v2")
        until(lambda: "v2 began" in app.migrations)
        client.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(7.5)
        client.send_signal(signal.SIGTERM)
        assert client.wait(2.5) == 143, "it leaves before it is killed"
        assert "v2 ended" not in app.migrations, "the migration goes on"
        said = heard(client)
        assert "aborting safely: undoing what was started … (Ctrl-C again leaves without waiting)" in said
        assert "the worker goes on aborting: backstay attach dev follows it" in said
        attached = app.run("attach", "dev", "--json")
        report = load.stop()
    assert (attached.status, attached.last["state"], attached.last["failed_step"]) == (
        130,
        "aborted",
        "migrate",
    )
    assert app.migrations[-2:] == ["v2 began", "v2 ended"]
    assert report.failed == 0 and set(report.by_release) == {"v1"}
    nothing_is_left_of_it(app)


def test_ctrl_c_aborts_and_a_second_one_does_not_wait_for_it(app: PlainApp) -> None:
    app.release("v3", sick=True)
    client = started(app, "deploy", "dev", "--version", "v3")
    until(lambda: app.step() == "health")
    client.send_signal(signal.SIGINT)
    assert client.wait(20) == 130
    assert "v3 was aborted" in heard(client)
    nothing_is_left_of_it(app)

    app.release("v4", migrates_for_s=6)
    client = started(app, "deploy", "dev", "--version", "v4")
    until(lambda: "v4 began" in app.migrations)
    client.send_signal(signal.SIGINT)
    until(lambda: asked(app))  # two signals that come before the first was heeded are one
    client.send_signal(signal.SIGINT)
    assert client.wait(2) == 130
    assert "v4 ended" not in app.migrations, "it left at once"
    assert "the worker goes on aborting" in heard(client)
    until(lambda: app.states()[0] == "aborted")
    nothing_is_left_of_it(app)


def test_an_abort_from_elsewhere_says_what_it_waits_for(app: PlainApp) -> None:
    app.release("v5", migrates_for_s=6)
    client = started(app, "deploy", "dev", "--version", "v5")
    until(lambda: "v5 began" in app.migrations)
    aborted = app.run("abort", "dev")
    assert aborted.status == 0
    assert re.search(
        r"asked deploy v5 \(\S+, now at migrate\) to abort safely; waiting until what it started is undone;"
        r" a migration that runs is let run to its end first …",
        aborted.err,
    )
    assert "v5 was aborted" in aborted.err
    assert client.wait(10) == 130, "who deploys learns of it"
    assert heard(client).count("v5 was aborted") == 1
    nothing_is_left_of_it(app)


def test_a_polite_kill_of_the_worker_is_a_wish_to_abort(app: PlainApp) -> None:
    """As a machine that shuts down sends it."""
    app.release("v9", sick=True)
    client = started(app, "deploy", "dev", "--version", "v9")
    until(lambda: app.step() == "health")
    [worker] = workers_of(app.home)
    os.kill(worker, signal.SIGTERM)
    assert client.wait(20) == 130
    assert "v9 was aborted" in heard(client)
    nothing_is_left_of_it(app)


def test_a_deployment_outlives_the_ssh_connection_that_began_it(app: PlainApp, sshd: Sshd) -> None:
    """Without a terminal the command writes into nothing from then on; with one it is hung up."""
    app.release("v6", migrates_for_s=1)
    app.release("v7", migrates_for_s=1)
    for version, terminal in (("v6", False), ("v7", True)):
        words = app.argv("deploy", "dev", "--version", version)
        env = {key: app.env[key] for key in ("BACKSTAY_HOME", "PATH", "PYTHONWARNINGS")}
        connection = sshd.connect(words, env, terminal=terminal)
        until(lambda version=version: f"{version} began" in app.migrations)  # type: ignore[misc]
        cut(connection)
        until(lambda: app.states()[0] == "succeeded" and workers_of(app.home) == [])
        until(lambda: commands_of(app) == [])
        assert app.serving() == version
    assert app.states()[:2] == ["succeeded"] * 2
    assert not (app.home / "reports").exists(), "no error on the way"
    assert app.status()["lock"] is None


@pytest.mark.long
def test_ctrl_c_at_any_moment_leaves_nothing_half_begun(app: PlainApp) -> None:
    """Also while the deployment is being recorded and handed over, which takes a few milliseconds somewhere in here."""
    app.release("v8", sick=True)
    before, began = app.serving(), len(app.states())
    ends = Counter[str]()
    for delay_s in (0.2 + number * 0.05 for number in range(40)):
        client = started(app, "deploy", "dev", "--version", "v8")
        time.sleep(delay_s)
        client.send_signal(signal.SIGINT)
        assert client.wait(30) in (130, -signal.SIGINT), "the latter while Python itself starts"
        heard(client)
        until(lambda: workers_of(app.home) == [])
        assert app.status()["lock"] is None
        new = app.states()[: len(app.states()) - began]
        began += len(new)
        ends[new[0] if new else "not begun"] += 1
        assert set(new) <= {"aborted"}, f"after {delay_s:.2f} s"
    print(dict(ends))
    assert app.serving() == before and {"aborted", "not begun"} <= ends.keys()


# ---- what the stories are told with


@pytest.fixture
def sshd() -> Iterator[Sshd]:
    with tempfile.TemporaryDirectory(prefix="bs-ssh-") as folder, Sshd(Path(folder)) as server:
        yield server


def started(app: PlainApp, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        app.argv(*words),
        env=app.env,
        cwd=app.folder,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def heard(client: subprocess.Popen[str]) -> str:
    assert client.stderr is not None
    with client.stderr as said:
        text = said.read()
    assert "Traceback" not in text
    return text


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def asked(app: PlainApp) -> bool:
    """Whether the newest deployment is to be aborted."""
    with app.reader() as store:
        return store.wish(store.history(app.name, "dev")[-1].id) is Wish.ABORT


def nothing_is_left_of_it(app: PlainApp) -> None:
    """v1 serves, nothing else runs, and the environment is free."""
    assert app.serving() == "v1"
    assert len(app.processes()) == 1
    until_no_worker_runs(app.home)
    assert app.status()["lock"] is None


def commands_of(app: PlainApp) -> list[str]:
    """Commands that still run on this application's configuration."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if b"backstay\0deploy" in command and os.fsencode(app.folder) in command:
            found.append(entry.name)
    return found
