"""What must be true when everything is over, whatever died before: looked at from outside, as a person would."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from pathlib import Path

from tests.load.control import Load
from tests.page import Page, looks
from tests.shop import workers_of
from tests.world.processes import wait_until

PROBES = 12
UNFINISHED = (".partial", ".next", ".tmp")


def assert_whole(page: Page, load: Load | None = None, versions: Iterable[str] = ("v1", "v2")) -> str:
    """One release serves and all records agree, nobody is at work, nothing is left over; returns that release.

    With `load`, no request of it has failed so far, apart from what `load` was told to expect.
    """
    # A worker gives the environment back shortly before it ends.
    assert wait_until(lambda: not list(workers_of(page.folder / "h")), 30), "somebody is still at work"
    status = looks.status(page)
    assert status["deployment"] is None, status
    assert status["lock"] is None, status
    assert status["drift"] == [], status
    live = status["live"]
    assert live is not None and live["release"] in versions, status
    other = {"blue": "green", "green": "blue"}[live["slot"]]
    assert status["weights"] == {live["slot"]: 100, other: 0}, status
    assert all(c["healthy"] for c in live["components"].values()), status
    assert {answer(page.port) for _ in range(PROBES)} == {live["release"]}, status
    assert sorted(page.containers()) == sorted(referred_to(page)), (page.containers(), status)
    assert unfinished_files(page) == []
    assert len(holders_of(page)) == 1, holders_of(page)
    if load is not None:
        seen = load.so_far()
        assert seen.failed == 0, seen.table()
    return str(live["release"])


def answer(port: int, path: str = "/version") -> str | None:
    """The release that answers in public on a new connection; None for an answer that no release made."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answered = connection.getresponse()
        answered.read()
        return answered.headers.get("X-Shop-Version")
    finally:
        connection.close()


def referred_to(page: Page) -> set[str]:
    """Short ids of the containers that live and standby refer to."""
    slots = looks.reader(page).slots(page.name, "dev")
    return {p.container[:12] for m in slots.mappings.values() for p in m.placements.values()}


def unfinished_files(page: Page) -> list[Path]:
    """What a write that never ended left in the state folder."""
    return [path for path in (page.folder / "h").rglob("*") if path.name.endswith(UNFINISHED)]


def holders_of(page: Page) -> list[str]:
    """The holders of the page's router. (HAProxys that drain after a reload may stay beside the one that serves.)"""
    folder = page.folder / "h" / "router"
    return [one for one in processes_with(str(folder)) if "haproxy.holder" in one]


def processes_with(words: str) -> list[str]:
    """Pid and command line of the processes whose command line contains `words`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it ended while we looked
                continue
            if words in command:
                found.append(f"{entry.name} {command.strip()}")
    return found
