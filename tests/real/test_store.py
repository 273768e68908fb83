"""The state store in PostgreSQL, under real deploys: its server restarts in their middle, and two hosts share it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.haproxy import HaproxyRouter
from tests.postgres.server import PASSWORD, Server
from tests.shop import Answer, Shop, workers_of
from tests.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Server]:
    with Server(world.postgres, connections=40, durable=True) as made:
        yield made


@pytest.fixture
def shared(shop: Shop, server: Server) -> Iterator[Shop]:
    """A shop that keeps its state on the server; the password comes from a variable."""
    url = server.create_database(shop.name).replace(PASSWORD, "${STORE_PASSWORD}")
    shop.variables["STORE_PASSWORD"] = PASSWORD
    shop.configure(store=url.replace("postgresql://", "postgresql+psycopg://"))
    yield shop
    shop.end_worker()
    server.drop_database(shop.name)


def seen_in_processes(home: Path) -> bytes:
    """Arguments of all processes, and what the worker and all that outlives it show of their environment."""
    seen = b""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes()
                seen += words
                if str(home).encode() in words:
                    seen += (folder / "environ").read_bytes()
    return seen


def test_its_server_restarts_during_a_deploy_and_nobody_notices(shared: Shop, server: Server) -> None:
    assert shared.deploy("v1").status == 0
    home = shared.folder / "h"
    with shared.load(slow=0) as load:
        load.until(lambda seen: seen.requests > 20)
        client = subprocess.Popen(
            shared.argv("deploy", "dev", "--version", "v2", "--json"),
            env=shared.env, cwd=shared.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert client.stdout is not None
        seen, ends = b"", {"start": server.stop, "bake": server.kill}  # before the switch, and after it
        for line in client.stdout:
            document = json.loads(line)
            if document.get("kind") == "step_started" and document["step"] in ends:
                ends.pop(document["step"])()
                time.sleep(1)
                seen += seen_in_processes(home)
                server.start()
        said = client.communicate()[1]
        report = load.stop()
    assert (client.returncode, document["state"], ends) == (0, "succeeded", {}), said
    assert report.failed == 0, report.failures[:5]
    assert report.bad_answers == {} and {"v1", "v2"} <= set(report.by_release)
    assert shared.serving() == {"backend": "v2", "frontend": "v2"}
    [log] = home.glob(f"logs/worker-{shared.history()[0]['deployment']}.log")
    assert "trying again for up to 60 s" in log.read_text() and "answers again" in log.read_text()
    events = shared.run("events", shared.history()[0]["deployment"], "--json")
    assert [event["seq"] for event in events.lines] == list(range(1, len(events.lines) + 1))
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file() and path.suffix != ".zst")
    shown = shared.run("config", "show", "dev")
    for place in (seen, kept, said.encode(), shown.out.encode(), events.out.encode()):
        assert len(place) > 100 or place == said.encode()
        assert PASSWORD.encode() not in place
    assert not (home / "state.db").exists()


class ControlHost:
    """Another machine, as far as its name goes: a state folder of its own, and the same store."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop, self.name, self.home = shop, name, shop.folder / name
        self.env = {**shop.env, "BACKSTAY_HOME": str(self.home)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [
            "unshare",
            "--uts",
            "sh",
            "-c",
            'hostname "$0"; exec "$@"',
            self.name,
            *self.shop.argv(*words),
        ]
        return subprocess.Popen(
            command,
            env=self.env,
            cwd=self.shop.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str) -> Answer:
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        return Answer(process.returncode, out, err)

    def clear(self) -> None:
        for pid in workers_of(self.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        HaproxyRouter(self.home / "router" / f"{self.shop.name}.dev", self.shop.name, "dev").stop()


@pytest.fixture
def hosts(shared: Shop) -> Iterator[list[ControlHost]]:
    made = [ControlHost(shared, name) for name in ("control-1", "control-2")]
    yield made
    for host in made:
        host.clear()


def test_of_two_control_hosts_one_deploys_and_the_other_is_told(
    shared: Shop, hosts: list[ControlHost]
) -> None:
    """With nothing deployed and no table there when they start."""
    shared.configure(bake="5m")
    racers = [host.start("deploy", "dev", "--version", "v1", "--detach", "--json") for host in hosts]
    said = [racer.communicate(timeout=120) for racer in racers]
    statuses = [racer.returncode for racer in racers]
    assert Counter(statuses) == {0: 1, 11: 1}, said
    winner, loser = hosts[statuses.index(0)], hosts[statuses.index(11)]
    told = said[statuses.index(11)][1]
    assert f"@{winner.name} " in told and "for deploy v1" in told and "backstay abort dev" in told
    assert not (loser.home / "router").exists()

    shown = loser.run("status", "dev", "--json").lines[0]
    assert shown["deployment"]["worker"]["host"] == winner.name
    aborted = loser.run("abort", "dev")
    assert aborted.status == 0, aborted.err
    assert shared.containers() == []
    refused = loser.run("deploy", "dev", "--version", "v1", "--json")
    assert refused.status == 2, refused
    assert (
        f"lives on control host {winner.name}" in refused.err and f"run this on {winner.name}" in refused.err
    )
    left = loser.run("recover", "--json")
    assert (
        left.status == 0 and f"lives on control host {winner.name}" in json.loads(left.out)[0]["left_alone"]
    )
    [drift] = loser.run("status", "dev", "--json").lines[0]["drift"]
    assert (drift["what"], drift["expected"], drift["found"]) == ("control host", winner.name, loser.name)
    assert not (loser.home / "router").exists()
    assert [row["state"] for row in shared.history()] == ["aborted"], "the other host left no trace"
