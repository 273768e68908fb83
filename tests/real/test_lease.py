"""The lease between real processes: dead owners, hung ones, ones that wake up too late, and clocks that were set."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from backstay.adapters.host import start_time
from backstay.domain.lease import WATCH_S, Lease
from devtools.demo.host import workers_of
from tests.real.plain import PlainApp
from tests.shop import Answer

pytestmark = pytest.mark.world

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture(scope="module")
def app() -> Iterator[PlainApp]:
    """v1 or v2 serves; v3 never becomes healthy, and gets a minute for it. Every story ends with a free environment."""
    with PlainApp(f"lease{os.getpid()}", bake="1s") as made:
        configured(made, "deadline: 5s", "deadline: 60s")
        for version in ("v1", "v2"):
            made.release(version)
        made.release("v3", sick=True)
        assert made.deploy("v1").status == 0
        yield made


def test_a_dead_owner_is_replaced_at_once(app: PlainApp) -> None:
    """Within two seconds, and the recovery begins by then, most of which is the start of a command."""
    worker = under_way(app, "v3")
    slower = patience(app)
    os.kill(worker, signal.SIGKILL)
    before = held(app)
    died = time.monotonic()
    with subprocess.Popen(
        app.argv("deploy", "dev", "--version", "v2"), env=app.env, stderr=subprocess.PIPE
    ) as next_:
        until(lambda: held(app).token > before.token)
        took_s = time.monotonic() - died
        assert next_.wait(60) == 0
    print(f"taken over {took_s:.2f} s after the death of its owner")
    assert took_s < 2 * slower
    assert app.serving() == "v2"


def test_a_hung_owner_is_watched_then_killed_and_seen_dead_before_it_is_replaced(app: PlainApp) -> None:
    worker = under_way(app, "v3")
    stop(app, worker)
    try:
        refused = app.deploy("v2")
        assert refused.status == 11, "stopped for a moment only, it is believed"
        grown_old(app)
        attached = app.run("attach", "dev")
        assert attached.status == 21
        assert f"(pid {worker}) has given no sign of life for over 600 s" in attached.err
        answer = app.deploy("v2")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    assert answer.status == 0, answer.err
    assert "has not been heard of for 600 s; watching it for 11 s more" in answer.err
    assert f"(pid {worker}) hangs: killing it" in answer.err
    assert start_time(worker) is None
    assert app.serving() == "v2"
    assert app.states()[:2] == ["succeeded", "failed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another host name needs root")
def test_an_owner_elsewhere_that_wakes_up_after_its_take_over_changes_nothing(app: PlainApp) -> None:
    """Nobody here may kill a process of another host; its token is all that keeps it from acting."""
    worker = under_way(app, "v3", elsewhere=True)
    assert held(app).owner.host == "another-host"
    stop(app, worker)
    grown_old(app)
    began = time.monotonic()
    answer = app.deploy("v2")
    assert answer.status == 0, answer.err
    assert time.monotonic() - began > WATCH_S
    assert "hangs" not in answer.err and start_time(worker) is not None
    before = everything(app)

    os.kill(worker, signal.SIGCONT)
    until(lambda: start_time(worker) is None, 20)
    assert everything(app) == before
    [log] = [path for path in (app.home / "logs").iterdir() if b"nothing more" in path.read_bytes()]
    told = log.read_text()
    assert "is lost" in told or "was taken over" in told or "no longer held" in told
    assert "this worker does nothing more and ends" in told and "Traceback" not in told
    assert app.serving() == "v2"


def test_a_wall_clock_that_was_set_takes_no_living_owners_environment(app: PlainApp) -> None:
    before = app.serving()
    worker = under_way(app, "v3")
    for jump in ("+3d", "-3d"):
        for words in (("deploy", "dev", "--version", "v2"), ("lock", "acquire", "dev")):
            refused = at_time(app, jump, *words)
            assert refused.status == 11, refused.err
            assert "for deploy v3" in refused.err and "watching" not in refused.err
    assert start_time(worker) is not None and app.states()[0] == "running"
    assert at_time(app, "-3d", "abort", "dev").status == 0, "and people are heard whatever their clock says"
    assert (app.states()[0], app.serving()) == ("aborted", before)


def test_a_worker_whose_clock_is_days_ahead_is_neither_killed_nor_immortal(app: PlainApp) -> None:
    worker = under_way(app, "v3", env=faked(app, "+3d"))
    days_s = held(app).expires_at - time.time()
    assert days_s > 2 * 86400, "that is what it wrote"
    assert app.deploy("v2").status == 11
    shown = json.loads(app.run("lock", "show", "dev", "--json").out)
    assert shown["expires_at"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 700))
    os.kill(worker, signal.SIGKILL)
    until(lambda: start_time(worker) is None)
    answer = app.deploy("v2")
    assert answer.status == 0, answer.err
    assert app.serving() == "v2"


def test_a_manual_lock_ends_when_its_time_is_over_and_not_when_a_clock_says_so(app: PlainApp) -> None:
    assert app.run("lock", "acquire", "dev", "--for", "1h").status == 0
    for jump in ("+3d", "-3d"):
        refused = at_time(app, jump, "deploy", "dev", "--version", "v2")
        assert refused.status == 11 and "backstay lock release dev" in refused.err
    assert app.run("lock", "release", "dev").status == 0
    assert at_time(app, "-3d", "lock", "acquire", "dev", "--for", "1s").status == 0
    time.sleep(1.1)
    assert app.run("lock", "show", "dev").out.strip() == "dev is not locked"


@pytest.mark.long
def test_a_hung_owner_loses_a_short_lease_in_its_time(app: PlainApp) -> None:
    """With nobody's clock or record touched: policy.lease, and a process that is stopped."""
    configured(app, "policy: {", "policy: {lease: 15s, ")
    worker = under_way(app, "v3")
    assert held(app).lasts_s == 15
    stop(app, worker)
    stopped = time.monotonic()
    while (refused := app.deploy("v2")).status == 11:
        assert time.monotonic() - stopped < 40, refused.err
    assert refused.status == 0, refused.err
    assert time.monotonic() - stopped > 15 - 5 + WATCH_S
    assert start_time(worker) is None and app.serving() == "v2"


# ---- what the stories are told with


def configured(app: PlainApp, old: str, new: str) -> None:
    file = app.folder / "backstay.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def under_way(
    app: PlainApp, version: str, *, elsewhere: bool = False, env: Mapping[str, str] | None = None
) -> int:
    """Begin to deploy a version that does not become healthy; its worker's pid, once it waits for that."""
    words = app.argv("deploy", "dev", "--version", version, "--detach")
    if elsewhere:
        words = ["unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh", *words]
    subprocess.run(words, env=env or app.env, check=True, capture_output=True)
    until(lambda: app.step() == "health")
    [worker] = workers_of(app.home)
    return worker


def stop(app: PlainApp, worker: int) -> None:
    """Stop a worker between two writes: in the middle of one it would keep everybody from the store."""

    def is_between() -> bool:
        os.kill(worker, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(app.home / "state.db", timeout=1)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(worker, signal.SIGCONT)
                return False
        return True

    until(is_between)


def held(app: PlainApp) -> Lease:
    with app.reader() as store:
        lease = store.lease(app.name, "dev")
    assert lease is not None
    return lease


def everything(app: PlainApp) -> tuple[object, ...]:
    """What counts: records, traffic, processes."""
    with app.reader() as store:
        records = [(store.steps(d.id), store.events(d.id), d) for d in store.history(app.name, "dev")]
        slots = store.slots(app.name, "dev")
    router = app.router.state()
    return (
        records,
        slots,
        (router.token, router.weights, router.up),
        app.router.map_file.read_bytes(),
        app.router.config_file.read_bytes(),
        sorted((p.id, p.running) for p in app.processes()),
        app.migrations,
    )


def grown_old(app: PlainApp) -> None:
    """As if the last sign of life lay an hour back; a lease time that one could wait for would be too short to use."""
    with contextlib.closing(sqlite3.connect(app.home / "state.db", timeout=10)) as database:
        database.execute("UPDATE leases SET heard_at = heard_at - 3600, expires_at = expires_at - 3600")
        database.commit()


def faked(app: PlainApp, jump: str) -> dict[str, str]:
    """An environment in which the wall clock is elsewhere, and nothing else: as when somebody set it."""
    assert FAKETIME is not None, "libfaketime is not installed"
    return {
        **app.env,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME": jump,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(Path(__file__).with_name("faketime")),
    }


def at_time(app: PlainApp, jump: str, *words: str) -> Answer:
    done = subprocess.run(
        app.argv(*words), env=faked(app, jump), cwd=app.folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def patience(app: PlainApp) -> float:
    """How many times longer things may take because others work on this machine too. The load is that of the last
    minute; a command that only looks tells of now, and alone it takes less than half a second."""
    began = time.monotonic()
    assert app.run("lock", "show", "dev").status == 0
    looked_s = time.monotonic() - began
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1), looked_s / 0.5)
