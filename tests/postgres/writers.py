"""Sessions that write to a server until it dies."""

from __future__ import annotations

import threading
import time


class Writers:
    """Sessions that commit as fast as they can, each telling which of its numbers were acknowledged, and when."""

    def __init__(self, url: str, count: int) -> None:
        self.url = url
        self.acknowledged: list[tuple[float, int]] = []
        self.threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def _write(self, number: int) -> None:
        import psycopg

        try:
            with psycopg.connect(self.url, autocommit=True) as session:
                for turn in range(1_000_000):
                    value = number * 1_000_000 + turn
                    session.execute("INSERT INTO work VALUES (%s)", (value,))
                    self.acknowledged.append((time.monotonic(), value))
        except psycopg.Error:
            return

    def end(self) -> None:
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
