"""Several processes at one store."""

from __future__ import annotations

from pathlib import Path

from backstay.adapters.store import SqlStore, open_reader
from tests.store import racing
from tests.store.samples import APP, ENV, begun, store_at


def test_of_eight_processes_one_gets_the_lease(place: Path | str) -> None:
    """The store does not even exist when they start."""
    said = racing.race(racing.begin, place, 8)
    assert sorted(said) == ["locked"] * 7 + ["won 1"]
    winner = said.index("won 1")
    reader = open_reader(place)
    assert [d.id for d in reader.history(APP, ENV)] == [f"d{winner}"]
    lease = reader.lease(APP, ENV)
    assert lease is not None
    assert lease.deployment == f"d{winner}"


def test_of_four_processes_one_takes_over(place: Path | str) -> None:
    store = store_at(place)
    begun(store)
    store.close()
    said = racing.race(racing.take_over, place, 4)
    assert sorted(said) == ["locked"] * 3 + ["won 2"]


def test_writers_wait_for_each_other_and_lose_nothing(store: SqlStore, place: Path | str) -> None:
    begun(store)
    assert racing.race(racing.tell_often, place, 4) == ["done"] * 4
    events = store.events("d1", after=1)
    assert [e.seq for e in events] == list(range(2, 402))
    for number in range(4):
        mine = [e.message for e in events if e.message.startswith(f"{number}:")]
        assert mine == [f"{number}:{count}" for count in range(100)]
