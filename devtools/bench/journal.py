"""What the journal costs: its writes beside the same number of bare commits on the same disk, and its reads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from statistics import quantiles
from typing import Any

import psycopg

from backstay.adapters.store import SqlReader, SqlStore, open_reader, open_store
from backstay.adapters.store.sqlite import WRITE, connect, create_private, use_write_ahead_log
from backstay.domain.lease import Lease
from backstay.domain.step import StepState, Telling
from backstay.pipeline.fence import Fence
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.postgres.server import Server
from tests.store import samples
from tests.world import World

TURNS = 300
STEPS = 20
"""Names of steps that take turns: about as many as a deployment has, so the tables keep their usual size."""

BAR_MS = 5.0
"""For a whole step, which is two synced commits: the intent, and that it is done."""

FENCE_BAR_MS = 1.0

RESULT = {"container": "c0ffee" * 10, "port": 20001, "took_s": 0.25}

FENCE = "the fence, asked before each act"
WHOLE, ONE, TWO = "a whole step, with its events", "one bare commit", "two bare commits"

Acts = Mapping[str, Callable[[int], object]]


def measure(world: World) -> Result:
    """Milliseconds; every write is one synced commit. The whole step is what the saga does: two writes, each with
    its event."""
    with tempfile.TemporaryDirectory(prefix="bs-journal-") as name:
        folder = Path(name)
        with closing(bare_file(folder / "bare.db")) as bare:
            file = measured(folder / "state.db", bare_commits(bare))
    with (
        Server(world.postgres, connections=20, durable=True, on_disk=True) as server,
        psycopg.connect(server.create_database("bare"), autocommit=True) as connection,
    ):
        on_server = measured(server.create_database("state"), bare_inserts(connection))
    figures = [*of_file(file), *of_server(on_server, file)]
    notes = [
        "a whole step is begun and done: two writes",
        f"{TURNS} turns, on the disk of {folder.parent}; the server is on the same machine, with fsync on",
    ]
    return Result("journal: what writing it down costs, in a file and on a server", figures, notes)


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of every turn, by what was done, and the mean processor time of a whole step."""

    writes: Mapping[str, list[float]]
    reads: Mapping[str, list[float]]
    processor: float

    def middle(self, what: str) -> float:
        return _median({**self.writes, **self.reads}[what])


def measured(place: Path | str, bare: Acts) -> Measured:
    """The store at `place`, by turns with bare commits on the same kind of database."""
    with closing(open_store(place)) as store, closing(open_reader(place)) as reader:
        lease = samples.begun(store)
        acts = writes_of(store, lease)
        writes = alternate({**acts, **bare})
        processor = processor_ms(acts[WHOLE])
        return Measured(writes, alternate(reads_of(store, reader, lease)), processor)


def of_file(found: Measured) -> list[Figure]:
    """An SQLite file, each beside the same number of bare commits."""
    one, two = found.middle(ONE), found.middle(TWO)
    about = "the rest waits for the disk, or for its turn"
    return [
        middle(WHOLE, found.writes[WHOLE], "ms", at_most=BAR_MS, beside=_bare(two, 2)),
        Figure("  its 95th percentile", quantiles(found.writes[WHOLE], n=20)[-1], "ms"),
        Figure("  of which processor time", found.processor, "ms", spread=about),
        *(middle(what, took, "ms", beside=_bare(one, 1)) for what, took in single(found.writes)),
        *(middle(what, took, "ms", at_most=_bar(what)) for what, took in found.reads.items()),
    ]


def _bar(what: str) -> float | None:
    return FENCE_BAR_MS if what == FENCE else None


def of_server(found: Measured, file: Measured) -> list[Figure]:
    """A PostgreSQL server, each beside the file."""

    def beside(what: str) -> Beside:
        return Beside("SQLite", file.middle(what))

    return [
        middle(f"{WHOLE}, PostgreSQL", found.writes[WHOLE], "ms", at_most=BAR_MS, beside=beside(WHOLE)),
        Figure("  its 95th percentile", quantiles(found.writes[WHOLE], n=20)[-1], "ms"),
        Figure("  of which processor time of ours", found.processor, "ms"),
        middle("two bare commits there", found.writes[TWO], "ms", beside=beside(TWO)),
        *(
            middle(f"{what}, PostgreSQL", took, "ms", beside=beside(what))
            for what, took in single(found.writes)
        ),
        *(
            middle(f"{what}, PostgreSQL", took, "ms", beside=beside(what))
            for what, took in found.reads.items()
        ),
    ]


def single(writes: Mapping[str, list[float]]) -> Iterator[tuple[str, list[float]]]:
    """The writes of one commit, but for the bare one."""
    return ((what, took) for what, took in writes.items() if what not in (WHOLE, ONE, TWO))


def writes_of(store: SqlStore, lease: Lease) -> Acts:
    """The store's writes while a deployment runs, by what they are; each takes the number of its turn."""
    token = lease.token
    telling = Telling("step_done", "the new slot has started", RESULT)

    def step(turn: int, state: StepState) -> None:
        store.step(token, "d1", f"step_{turn % STEPS}", state, result=RESULT, took_s=0.25, telling=telling)

    def whole(turn: int) -> None:
        step(turn, StepState.STARTED)
        step(turn, StepState.DONE)

    return {
        WHOLE: whole,
        "one write of a step, with its event": lambda turn: step(turn, StepState.DONE),
        "an event alone": lambda _: store.tell(token, "d1", "told", "hello", data=RESULT),
        "the slots": lambda _: store.save_slots(token, samples.APP, samples.ENV, samples.slots()),
        "an entry of the catalog": lambda _: store.add_backup(token, samples.backup()),
        "a heartbeat": lambda _: store.heartbeat(lease),
    }


def bare_file(path: Path) -> Connection:
    """A file of one table that makes the store's promise: write-ahead log, every commit synced."""
    create_private(path)
    use_write_ahead_log(path)
    connection = connect(path, WRITE)
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, content TEXT)")
    return connection


def bare_commits(connection: Connection) -> Acts:
    """Commits of one row with nothing of ours around them."""

    def commit(_: int) -> None:
        connection.execute("INSERT INTO rows (content) VALUES (?)", ("x" * 200,))

    def twice(turn: int) -> None:
        commit(turn)
        commit(turn)

    return {ONE: commit, TWO: twice}


def bare_inserts(connection: psycopg.Connection[Any]) -> Acts:
    """The same on a server."""
    connection.execute("CREATE TABLE rows (number serial PRIMARY KEY, content text)")

    def commit(_: int) -> None:
        connection.execute("INSERT INTO rows (content) VALUES (%s)", ("x" * 200,))

    def twice(turn: int) -> None:
        commit(turn)
        commit(turn)

    return {ONE: commit, TWO: twice}


def reads_of(store: SqlStore, reader: SqlReader, lease: Lease) -> Acts:
    """What a worker asks between its steps, and a client that follows it: `open_reader` is as in another process."""
    fence = Fence(store, lease)
    return {
        FENCE: lambda _: fence.check(),
        "the wish, asked by the worker": lambda _: store.wish("d1"),
        "the wish, asked by another process": lambda _: reader.wish("d1"),
        "all steps": lambda _: reader.steps("d1"),
        "both slots": lambda _: reader.slots(samples.APP, samples.ENV),
    }


def alternate(acts: Acts) -> dict[str, list[float]]:
    """Milliseconds of every act, done in turns so that a busy moment meets all of them alike."""
    took: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(TURNS):
        for name, act in acts.items():
            began = time.perf_counter()
            act(turn)
            took[name].append((time.perf_counter() - began) * 1000)
    return took


def processor_ms(act: Callable[[int], object]) -> float:
    """Mean processor time of an act, in milliseconds; it hardly depends on what else the machine does."""
    began = time.process_time()
    for turn in range(TURNS):
        act(turn)
    return (time.process_time() - began) * 1000 / TURNS


def _bare(value: float, commits: int) -> Beside:
    return Beside("bare commit" if commits == 1 else f"{commits} bare commits", value)


def _median(values: list[float]) -> float:
    return quantiles(values, n=2)[0]
