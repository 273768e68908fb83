"""The figures of the kill harness, printed at the end of a run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass
class Tally:
    """What the scenes of one run came to."""

    scenes: int = 0
    moments: int = 0
    worlds: int = 0
    again: int = 0

    def add(self, moments: int, worlds: int, again: int) -> None:
        self.scenes += 1
        self.moments += moments
        self.worlds += worlds
        self.again += again


TALLY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.config.stash.setdefault(TALLY, Tally())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(TALLY, None)
    if found is not None:
        terminalreporter.write_line(
            f"kill harness: {found.moments} moments to die in, in {found.scenes} scenes; {found.worlds} different"
            f" worlds recovered after one death, {found.again} after two"
        )
