"""Counting what each slot answered, second by second, from HAProxy's log lines. Standard library only."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

KEEP_S = 600
SLOW_EDGES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Answer times are counted by these edges; an asked limit is taken down to the nearest edge below it."""

SWITCHING_PROTOCOLS = 101


class Second:
    """Counts of one second per slot: `[requests, errors, over edge 0, over edge 1, …]`."""

    __slots__ = ("at", "slots")

    def __init__(self, at: int) -> None:
        self.at = at
        self.slots: dict[str, list[int]] = {}


class Ring:
    """The last ten minutes."""

    def __init__(self) -> None:
        self.seconds: deque[Second] = deque()

    def add(self, line: str, now: float) -> None:
        """Count one log line: `backend status milliseconds [milliseconds held]`. Lines of no slot, and garbage,
        count nothing; the time that we held the request is not the slot's."""
        words = line.split()
        if len(words) < 3 or "." not in words[0] or not words[1].lstrip("-").isdigit():
            return
        slot, status = words[0].partition(".")[0], int(words[1])
        took_s = int(words[2]) / 1000 if words[2].isdigit() else 0.0
        if len(words) > 3 and words[3].isdigit():
            took_s = max(0.0, took_s - int(words[3]) / 1000)
        counts = self._second(int(now)).slots.setdefault(slot, [0] * (2 + len(SLOW_EDGES_S)))
        counts[0] += 1
        counts[1] += status >= 500
        if status != SWITCHING_PROTOCOLS:
            for edge in range(bisect_right(SLOW_EDGES_S, took_s)):
                counts[2 + edge] += 1

    def count(self, slot: str, window_s: float, slow_s: float, now: float) -> tuple[int, int, int]:
        """Requests, 5xx answers and answers slower than `slow_s` of the last `window_s` seconds."""
        edge = max(0, bisect_right(SLOW_EDGES_S, slow_s) - 1)
        requests = errors = slow = 0
        for second in self.seconds:
            if second.at > now - window_s and slot in second.slots:
                counts = second.slots[slot]
                requests += counts[0]
                errors += counts[1]
                slow += counts[2 + edge]
        return requests, errors, slow

    def _second(self, now: int) -> Second:
        if not self.seconds or self.seconds[-1].at != now:
            self.seconds.append(Second(now))
            while self.seconds[0].at < now - KEEP_S:
                self.seconds.popleft()
        return self.seconds[-1]
