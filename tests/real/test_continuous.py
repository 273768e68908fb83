"""Continuous protection by the commands alone: received, based, alarmed about, and a moment that comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.adapters.postgres.receiver import PgReceivewal, _receivers
from backstay.domain.alarm import Subject
from backstay.domain.backup import BackupKind
from tests.postgres.server import Server
from tests.real.served import Served
from tests.world import World
from tests.world.processes import wait_until

pytestmark = pytest.mark.world


class Guarded(Served):
    """A plain application whose database is on a server of its own, which we may receive from."""

    def __init__(self, world: World, name: str, server: Server) -> None:
        super().__init__(world, name)
        self.server = server

    def __enter__(self) -> Guarded:
        self.open()
        config = self.folder / "backstay.yml"
        text = config.read_text() + "database: {url_secret: DATABASE_URL, continuous: true}\n"
        config.write_text(text.replace("bake: 2s", "bake: 1s, rpo: 2m"))
        secrets = self.folder / "secrets.env"
        secrets.write_text(secrets.read_text() + f"DATABASE_URL={self.server.url_of('shop')}\n")
        return self

    def __exit__(self, *_: object) -> None:
        PgReceivewal().stop(self.wal)
        self.shut()

    @property
    def wal(self) -> Path:
        return self.home / "wal" / f"{self.name}.dev"

    def sql(self, statement: str) -> str:
        return self.server.query(statement, "shop")

    def now(self) -> datetime:
        return datetime.fromtimestamp(float(self.sql("SELECT extract(epoch FROM clock_timestamp())")), UTC)

    def alarms(self) -> dict[Subject, str]:
        return {alarm.subject: alarm.message for alarm in self.store.alarms(self.name, "dev")}

    def is_receiving(self) -> bool:
        """Whether this serve has said so; it does once the server knows of the receiver."""
        return "WAL is being received" in self.log

    def window(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.status()["objectives"]["continuous"]["window"]
        return found


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Server]:
    with Server(world.postgres, 40, senders=6) as made:
        made.query("CREATE DATABASE shop")
        yield made


@pytest.fixture(scope="module")
def app(world: World, server: Server) -> Iterator[Guarded]:
    """v1 serves; nothing looks after it yet."""
    with Guarded(world, f"cnt{os.getpid()}", server) as made:
        made.release("v1")
        made.sql("CREATE TABLE orders AS SELECT generate_series(1, 100) n")
        answer = made.deploy("v1")
        assert answer.status == 0, answer.err
        yield made


def test_serve_receives_makes_a_base_and_a_dropped_table_comes_back(app: Guarded) -> None:
    with app.looked_after() as serve:
        # The backup before v1 is a base too, but no WAL was received after it.
        assert wait_until(lambda: bool(app.window()), 60), app.log
        assert app.backups()[0].kind is BackupKind.PHYSICAL
        app.sql("INSERT INTO orders VALUES (101)")
        good = app.now()
        time.sleep(0.1)
        app.sql("DROP TABLE orders")
        assert wait_until(
            lambda: bool(app.window()) and datetime.fromisoformat(app.window()[-1]["to"]) > good, 60
        )
        objectives = app.status()["objectives"]
        assert objectives["rpo"]["standing"] == "met" and objectives["rpo"]["actual_s"] < 60
        assert (objectives["continuous"]["flow"], objectives["continuous"]["gap"]) == ("receiving", None)

        dry = app.run("backup", "restore", "dev", "--at", good.isoformat(), "--dry-run")
        assert dry.status == 0 and "is within reach" in dry.out
        late = app.run("backup", "restore", "dev", "--at", "2001-01-01T00:00:00Z")
        assert late.status == 30 and "what can be brought back is" in late.err
        restored = app.run(
            "backup", "restore", "dev", "--at", good.isoformat(), "--accept-loss", "1000", "--yes"
        )
        assert restored.status == 0, restored.out + restored.err
        assert app.sql("SELECT count(*) FROM orders") == "101"
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(20) == 0
    assert list(_receivers(app.wal)) == []


def test_killed_its_receiver_goes_on_and_the_next_one_takes_it_over(app: Guarded) -> None:
    with app.looked_after() as serve:
        # One that has only just been started ends with its starter, whose passfile it has not read yet.
        assert wait_until(app.is_receiving, 30), app.log
        serve.kill()
        serve.wait(10)
    [before] = list(_receivers(app.wal))
    with app.looked_after() as serve:
        assert wait_until(app.is_receiving, 30), app.log
        assert list(_receivers(app.wal)) == [before]
        serve.send_signal(signal.SIGTERM)
        serve.wait(20)


def made_read_only(folder: Path) -> bool:
    """Whether it worked: not while the receiver, which is started again and again, has just opened a file here."""
    for pid, _ in _receivers(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    remount = ["mount", "-o", "remount,ro,bind", str(folder)]
    return subprocess.run(remount, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_a_folder_that_cannot_be_written_is_an_alarm_long_before_the_rpo_is_used_up(app: Guarded) -> None:
    """People hear of it when half of the RPO is used up, or after half a minute if that is sooner."""
    config = app.folder / "backstay.yml"
    config.write_text(config.read_text().replace("rpo: 2m", "rpo: 1m"))
    with app.looked_after() as serve:
        assert wait_until(app.is_receiving, 30), app.log
        subprocess.run(["mount", "--bind", app.wal, app.wal], check=True)
        try:
            assert wait_until(lambda: made_read_only(app.wal), 30), "somebody always has a file open to write"
            app.sql("CREATE TABLE more (n int)")
            assert wait_until(lambda: Subject.WAL in app.alarms(), 120), app.log
            assert "Read-only" in app.alarms()[Subject.WAL] and Subject.RPO not in app.alarms()
        finally:
            # Lazily: the serve looks into it every few seconds, which would make it busy.
            subprocess.run(["umount", "--lazy", app.wal], check=True)
        told = app.document("notifications", "list", "dev")
        assert [row["message"] for row in told if row["status"] == "alarm"] == [app.alarms()[Subject.WAL]]
        serve.send_signal(signal.SIGTERM)
        serve.wait(20)
