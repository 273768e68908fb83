"""Two processes that enter a backup under one name: exactly one of them does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.store import samples
from tests.store.samples import APP, ENV, store_at


def test_one_name_is_given_once(place: Path | str) -> None:
    stores = [store_at(place) for _ in range(4)]
    start = threading.Barrier(len(stores))

    def enter(number: int) -> bool:
        start.wait()
        return stores[number].record_backup(replace(samples.backup(), reason=str(number)))

    with ThreadPoolExecutor(len(stores)) as pool:
        entered = list(pool.map(enter, range(len(stores))))
    assert entered.count(True) == 1
    assert [b.reason for b in stores[0].backups(APP, ENV)] == [str(entered.index(True))]
    for store in stores:
        store.close()
