"""`backstay serve` as a real process: what is due runs, a second one is refused, and every end is mended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.plain import PlainApp
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


class Served(PlainApp):
    """A plain application with a database of its own, looked after."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def __enter__(self) -> Served:
        super().__enter__()
        self.urls = self.world.create_database(self.name)
        self.world.query("CREATE TABLE t AS SELECT generate_series(1, 10) n", self.name)
        self.world.query(f'ALTER TABLE t OWNER TO "{self.name}"', self.name)
        config = self.folder / "backstay.yml"
        config.write_text(config.read_text() + "database: {url_secret: DATABASE_URL}\n")
        secrets = self.folder / "secrets.env"
        secrets.write_text(secrets.read_text() + f"DATABASE_URL={self.urls['host']}\n")
        return self

    def __exit__(self, *_: Any) -> None:
        super().__exit__(None, None, None)
        self.world.drop_database(self.name)

    @contextmanager
    def serving_(self, **env: str) -> Iterator[subprocess.Popen[str]]:
        """A serve that is ready, killed at the end if it still runs."""
        log = (self.folder / "serve.log").open("a")
        process = subprocess.Popen(
            self.argv("serve"), env={**self.env, **env}, cwd=self.folder, stderr=log, stdout=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        log.close()
        try:
            assert wait_until(lambda: "looking after" in self.log or process.poll() is not None, 20), self.log
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(20)

    @property
    def log(self) -> str:
        return (self.folder / "serve.log").read_text()

    def backups(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.run("backup", "list", "dev", "--json").out)
        return rows

    def duties(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.run("duty", "list", "dev", "--json").out)["runs"]
        return runs


@pytest.fixture
def app(world: World) -> Iterator[Served]:
    with Served(world, f"srv{os.getpid()}") as made:
        yield made


def test_it_backs_up_what_has_no_backup_and_ends_within_seconds(app: Served) -> None:
    with app.serving_() as process:
        assert wait_until(lambda: bool(app.backups()), 30), app.log
        [backup] = app.backups()
        assert backup["reason"] == "there is no backup yet" and backup["state"] != "failed"
        status = app.run("status", "dev", "--json")
        rpo = json.loads(status.out)["objectives"]["rpo"]
        assert rpo["standing"] == "met" and rpo["target_s"] == 86400

        second = app.run("serve")
        assert second.status == 11 and f"pid {process.pid}" in second.err
        assert app.run("deploy", "dev", "--version", "none").status != 11, "nobody else is locked out"

        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "BACKSTAY" not in app.log and app.urls["password"] not in app.log


def test_killed_at_its_work_the_next_one_mends_it(app: Served) -> None:
    app.world.query("CREATE TABLE IF NOT EXISTS busy (n int)", app.name)
    with app.serving_() as process:
        assert wait_until(lambda: any(r["duty"] == "backup" for r in app.duties()), 20)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with app.serving_() as process:
        assert wait_until(lambda: bool(app.backups()), 30), app.log
        assert wait_until(
            lambda: "running" not in {r["outcome"] for r in app.duties() if r["duty"] == "backup"}, 20
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert {r["outcome"] for r in app.duties() if r["duty"] == "backup"} <= {"done", "lost"}


def test_it_speaks_to_systemd_and_reads_a_changed_file(app: Served) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bs-"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(folder / "notify"))
        channel.settimeout(20)
        with app.serving_(NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="30000000") as process:
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
            told = json.loads(app.run("notifications", "list", "dev", "--json").out)
            about = [row["status"] for row in told if "backstay.yml is" in row["message"]]
            assert about == ["mended", "alarm"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        said = b""
        while b"STOPPING=1" not in said:
            said = channel.recv(4096)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
