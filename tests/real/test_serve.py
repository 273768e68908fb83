"""`backstay serve` as a real process: what is due runs, a second one is refused, and every end is mended."""

from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.domain.backup import WHOLE
from backstay.domain.schedule import Duty
from tests.real.served import Served
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


@pytest.fixture
def app(world: World) -> Iterator[Served]:
    with Served(world, f"srv{os.getpid()}") as made:
        yield made


def test_it_backs_up_what_has_no_backup_is_alone_and_ends_within_seconds(app: Served) -> None:
    with app.looked_after() as process:
        assert wait_until(lambda: bool(app.backups()), 30), app.log
        [backup] = app.backups()
        assert backup.reason == "there is no backup yet" and backup.state in WHOLE
        rpo = app.status()["objectives"]["rpo"]
        assert rpo["standing"] == "met" and rpo["target_s"] == 86400

        second = app.run("serve")
        assert second.status == 11 and f"pid {process.pid}" in second.err

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert app.urls["password"] not in app.log


def test_killed_at_its_work_the_next_one_mends_it(app: Served) -> None:
    with app.looked_after() as process:
        assert wait_until(lambda: bool(app.runs(Duty.BACKUP)), 20)
        process.kill()
        process.wait(10)
    with app.looked_after() as process:
        assert wait_until(lambda: bool(app.backups()), 30), app.log
        assert wait_until(lambda: {run.outcome for run in app.runs(Duty.BACKUP)} <= {"done", "lost"}, 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_it_speaks_to_systemd_and_reads_a_changed_file(app: Served) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bs-"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(folder / "notify"))
        channel.settimeout(20)
        with app.looked_after(NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="30000000") as process:
            first = channel.recv(4096).decode()
            assert "READY=1" in first and f"{app.name}: dev" in first
            while "WATCHDOG=1" not in channel.recv(4096).decode():
                pass
            config = app.folder / "backstay.yml"
            good = config.read_text()
            config.write_text(good + "nonsense: true\n")
            assert wait_until(lambda: "stay in force" in app.log, 10)
            both = "environments:\n  uat: {engine: process, secrets: {file: secrets.env}, router: {bind: ':1'}}\n"
            config.write_text(good.replace("environments:\n", both))
            assert wait_until(lambda: f"looking after {app.name}: uat, dev" in app.log, 10), app.log
            told = app.document("notifications", "list", "dev")
            about = [row["status"] for row in told if "backstay.yml is" in row["message"]]
            assert about == ["mended", "alarm"]
            # What does not fit into the channel's short queue is not said.
            while select.select([channel], [], [], 0)[0]:
                channel.recv(4096)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        said = b""
        while b"STOPPING=1" not in said:
            said = channel.recv(4096)
    (folder / "notify").unlink()
    folder.rmdir()


def test_a_deployment_whose_worker_died_is_brought_to_its_end(app: Served) -> None:
    app.release("v1")
    app.release("v2", migrates_for_s=30)
    assert app.deploy("v1").status == 0
    assert app.run("deploy", "dev", "--version", "v2", "--detach").status == 0
    [_, dead] = app.store.history(app.name, "dev")
    assert wait_until(lambda: app.step() == "migrate", 20)
    held = app.store.lease(app.name, "dev")
    assert held is not None
    with app.looked_after() as process:
        os.kill(held.owner.pid, signal.SIGKILL)
        assert wait_until(lambda: app.store.lease(app.name, "dev") is None, 120), app.log
        assert app.serving() == "v1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    ended = app.store.deployment(dead.id)
    assert ended is not None and ended.state.is_final
