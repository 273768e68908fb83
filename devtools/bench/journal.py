"""What the journal costs: its writes beside the same number of bare SQLite commits on the same disk, and its reads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection
from statistics import quantiles

from backstay.adapters.clock import SystemClock
from backstay.adapters.store import SqlStore, open_reader, open_store
from backstay.adapters.store.sqlite import WRITE, connect, create_private, use_write_ahead_log
from backstay.domain.lease import Lease
from backstay.domain.step import StepState, Telling
from backstay.pipeline.fence import Fence
from devtools.bench.figure import Beside, Figure, Result, middle
from tests.store import samples
from tests.world import World

TURNS = 300
STEPS = 20
"""Names of steps that take turns: about as many as a deployment has, so the tables keep their usual size."""

BAR_MS = 5.0
"""For a whole step, which is two synced commits: the intent, and that it is done."""

FENCE_BAR_MS = 1.0

RESULT = {"container": "c0ffee" * 10, "port": 20001, "took_s": 0.25}

Acts = Mapping[str, Callable[[int], object]]


def measure(world: World) -> Result:
    """Milliseconds; every write is one synced commit. The whole step is what the saga does: two writes, each with
    its event."""
    with tempfile.TemporaryDirectory(prefix="bs-journal-") as name:
        folder = Path(name)
        with (
            closing(open_store(folder / "state.db", SystemClock())) as store,
            closing(bare_file(folder / "bare.db")) as bare,
        ):
            lease = samples.begun(store)
            acts = writes_of(store, lease)
            writes = alternate({**acts, **bare_commits(bare)})
            processor = processor_ms(acts["a whole step"])
            reads = alternate(reads_of(store, folder / "state.db", lease))
    one, two = (_median(writes.pop(name)) for name in ("one bare commit", "two bare commits"))
    whole = writes.pop("a whole step")
    fence = reads.pop("the fence")
    about = "the rest waits for the disk, or for its turn"
    figures = [
        middle("a whole step, with its events", whole, "ms", at_most=BAR_MS, beside=_bare(two, 2)),
        Figure("  its 95th percentile", quantiles(whole, n=20)[-1], "ms"),
        Figure("  of which processor time", processor, "ms", spread=about),
        *(middle(what, took, "ms", beside=_bare(one, 1)) for what, took in writes.items()),
        middle("the fence, asked before each act", fence, "ms", at_most=FENCE_BAR_MS),
        *(middle(what, took, "ms") for what, took in reads.items()),
    ]
    notes = ["a whole step is begun and done: two writes", f"{TURNS} turns, on the disk of {folder.parent}"]
    return Result("journal: what writing it down costs", figures, notes)


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
        "a whole step": whole,
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

    return {"one bare commit": commit, "two bare commits": twice}


def reads_of(store: SqlStore, path: Path, lease: Lease) -> Acts:
    """What a worker asks between its steps, and a client that follows it: `open_reader` is as in another process."""
    reader = open_reader(path)
    fence = Fence(store, lease)
    return {
        "the fence": lambda _: fence.check(),
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
