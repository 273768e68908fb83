"""Kills workers at random instants of what they do, recovery included, and has the next command bring all to an end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.crash.aftermath import assert_whole
from tests.load.control import Load
from tests.page import Page, looks
from tests.shop import workers_of

RECOVERY_DIES = 0.25
"""Share of the recoveries that are killed as well, and of those that recover from that."""

RECOVERIES = 2
"""How many recoveries of one deployment may be killed: after the third one a person is called."""

BY_DEPLOY = 0.25
"""Share of the recoveries that are left to the next deploy."""

EARLY = 0.1
"""Share of the kills that meet a worker which still waits for its order."""

PLANNING_S = 0.3

CLIENT_DIES = 0.2
"""Share of the kills that take the command which follows along with the worker."""


@dataclass(frozen=True)
class Kill:
    """One kill -9 that met a living worker: of which command, how long after its worker began, and what the journal
    said last."""

    verb: str
    at_s: float
    step: str


@dataclass
class Tally:
    """What a lane of kills saw."""

    kills: list[Kill] = field(default_factory=list)
    too_late: int = 0
    recoveries: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    failed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.kills + other.kills,
            self.too_late + other.too_late,
            self.recoveries + other.recoveries,
            self.ends + other.ends,
            self.requests + other.requests,
            self.failed + other.failed,
        )

    def told(self) -> str:
        """The figures for people."""
        times = sorted(self.recoveries)
        middle = f"{times[len(times) // 2]:.2f} s (max {times[-1]:.2f} s)" if times else "-"
        where = ", ".join(f"{step} {n}" for step, n in Counter(k.step for k in self.kills).most_common())
        verbs = ", ".join(f"{verb} {n}" for verb, n in Counter(k.verb for k in self.kills).most_common())
        ends = ", ".join(f"{end} {n}" for end, n in self.ends.most_common())
        return (
            f"{len(self.kills)} kills ({verbs}), {self.too_late} came too late\n"
            f"last step in the journal: {where}\n"
            f"the killed deployments ended: {ends}\n"
            f"the command that recovers took {middle}\n"
            f"{self.requests} requests, {self.failed} failed"
        )


class Lane:
    """One environment whose workers are killed, one after another. `expected` is how long each verb's worker works,
    in seconds, as it was last seen: kills fall evenly on that time, on a busy machine as on an idle one."""

    def __init__(self, page: Page, seed: str) -> None:
        self.page = page
        self.chance = random.Random(seed)
        self.tally = Tally()
        self.serving = "v2"
        self.expected = {"recover": 0.5}
        for verb in ("rollback", "deploy"):
            self._whole(verb, self._command(verb))
            self.serving = self._other()

    def run(self, kills: int) -> Tally:
        """Go on until so many kills met a worker, under load all the time."""
        while len(self.tally.kills) < kills:
            with self.page.load() as load:
                for _ in range(20):
                    self.cycle(load)
                    if len(self.tally.kills) >= kills:
                        break
                report = load.stop()
            self.tally.requests += report.requests
            self.tally.failed += report.failed
            assert report.failed == 0, report.table()
            assert set(report.by_release) <= {"v1", "v2"} and not report.bad_answers, report.table()
        return self.tally

    def cycle(self, load: Load) -> None:
        """One command whose worker is killed; then recovery, a look at everything, and a deploy that must succeed."""
        verb = self.chance.choice(["deploy", "deploy", "rollback"])
        if not self._killed(verb, self._command(verb)):
            self.serving = assert_whole(self.page, load)
            return
        self._recover()
        self.serving = assert_whole(self.page, load)
        self._deploy()

    def _command(self, verb: str) -> list[str]:
        return ["deploy", "dev", "--version", self._other()] if verb == "deploy" else ["rollback", "dev"]

    def _other(self) -> str:
        return "v2" if self.serving == "v1" else "v1"

    def _killed(self, verb: str, words: list[str], may_be_done: bool = False) -> bool:
        """Start a command and kill its worker at a random instant; whether there was a worker to kill.

        `may_be_done`: the command may find that there is nothing to do, and start none.
        """
        before = looks.newest(self.page).id
        client = self.page.start(*words)
        try:
            early = self.chance.random() < EARLY
            worker = self._worker_of(client) if early else self._at_work(client)
            if worker is None:
                status = client.wait(300)
                was_quick = status == 0 and looks.newest(self.page).id != before
                assert may_be_done or was_quick, (words, status, self.page.said.read_text())
                self.tally.too_late += was_quick
                return False
            at_s = self.chance.uniform(0, PLANNING_S if early else self.expected[verb])
            time.sleep(at_s)
            step = self._step()
            if not _kill(worker):
                self.tally.too_late += 1
                return False
            self.tally.kills.append(Kill(verb, at_s, step))
            if self.chance.random() < CLIENT_DIES:
                client.kill()
            return True
        finally:
            client.wait(300)

    def _worker_of(self, client: subprocess.Popen[bytes], seconds: float = 60) -> int | None:
        """The command's worker as soon as it is there, before it has anything to do; None when the command ends
        without one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = list(workers_of(self.page.folder / "h"))
            if found:
                return found[0]
            if client.poll() is not None:
                return None
            time.sleep(0.02)
        return None

    def _at_work(self, client: subprocess.Popen[bytes], seconds: float = 60) -> int | None:
        """The command's worker as soon as it holds the lease; None when the command ends without one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            held = looks.reader(self.page).lease(self.page.name, "dev")
            if held is not None and held.owner.pid in workers_of(self.page.folder / "h"):
                return held.owner.pid
            if client.poll() is not None:
                return None
            time.sleep(0.02)
        return None

    def _step(self) -> str:
        """The newest entry of the journal."""
        store = looks.reader(self.page)
        newest = store.history(self.page.name, "dev")[-1]
        steps = store.steps(newest.id)
        return f"{steps[-1].name} {steps[-1].state}" if steps and not newest.state.is_final else "(between)"

    def _recover(self) -> None:
        """Have the dead deployment brought to an end, through deaths of the recovery itself: by `recover`, or by the
        next deploy."""
        dead = self.page.history()[0]["deployment"]
        for _ in range(RECOVERIES):
            if self.chance.random() < RECOVERY_DIES:
                self._killed("recover", ["recover", "dev"], may_be_done=True)
        if self.chance.random() < BY_DEPLOY:
            self._deploy()
        else:
            began = time.monotonic()
            self._whole("recover", ["recover", "dev"], statuses=(0, 20))
            self.tally.recoveries.append(time.monotonic() - began)
        [ended] = [row for row in self.page.history() if row["deployment"] == dead]
        assert ended["state"] in ("succeeded", "failed", "rolled_back"), ended
        self.tally.ends[ended["state"]] += 1

    def _deploy(self) -> None:
        version = self._other()
        self._whole("deploy", self._command("deploy"))
        self.serving = version

    def _whole(self, verb: str, words: list[str], statuses: Sequence[int] = (0,)) -> None:
        """A command that nobody disturbs; remembers how long its worker worked."""
        client = self.page.start(*words)
        began = time.monotonic() if self._at_work(client) is not None else None
        status = client.wait(300)
        if began is not None:
            self.expected[verb] = time.monotonic() - began
        assert status in statuses, (words, status, self.page.said.read_text(), self.page.history()[0])


def _kill(pid: int) -> bool:
    """Whether there was something to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
