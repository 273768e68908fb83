"""What to do about a deployment whose worker died: finish it, take it back, or call a person.

Two things decide, and memory is neither: the journal (what was begun, what ended) and the observed world (where the
traffic goes, which slot answers). Pure; `docs/recovery.md` tells the same as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from backstay.domain.deployment import DeploymentKind, Wish
from backstay.domain.step import StepRecord, StepState, Truth

FORMAT: Final = 2
"""The journal's format, recorded with each deployment. 1 had no number: what it recorded means the same today."""

UNDERSTOOD: Final = frozenset({1, FORMAT})

MOST_TRIES: Final = 3
"""So often a deployment is recovered; if that dies as well each time, something is wrong that a person must see."""

STEPS: Final = frozenset(
    {
        "check", "snapshot", "router", "pull", "backup", "rehearse", "restore", "hold", "quiesce", "copy", "migrate",
        "swap", "start", "stage", "health", "smoke", "switch", "public-smoke", "open", "bake", "retire",
    }
)  # fmt: skip
"""The names a journal of this format may have; those of `pipeline.deploy.STEPS`."""

LENIENT: Final = frozenset({"snapshot", "retire"})
"""Steps whose failure does not reverse a deployment that has switched."""

PROOFS: Final[Mapping[DeploymentKind, str]] = {
    DeploymentKind.DEPLOY: "bake",
    DeploymentKind.ROLLBACK: "public-smoke",
    DeploymentKind.RESTORE: "open",
}
"""The step after which a release counts as good: an unwatched new one does not."""


class Course(StrEnum):
    """`FORWARD` finishes the deployment, `UNDO` takes back what it began, `STAY` moves nothing and calls a person."""

    FORWARD = "forward"
    UNDO = "undo"
    STAY = "needs_human"


class Pulse(StrEnum):
    """Whether a slot answers its health paths. `EMPTY`: nothing stands there. `UNASKED`: it does not matter."""

    ANSWERS = "answers"
    SILENT = "silent"
    EMPTY = "empty"
    UNASKED = "unasked"


class Side(StrEnum):
    """The two slots as a deployment sees them: the one it fills, and the one that served before it."""

    TARGET = "target"
    ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as it is now.

    `carries`: whether traffic goes to the target, as the router says; None when it does not say. `truth` is what the
    probe of the last step says when the journal has no more of it than its intent. `opened`: whether requests were let
    through after a hold, asked only when that was begun; None when the router does not say.
    """

    carries: bool | None
    target: Pulse = Pulse.UNASKED
    origin: Pulse = Pulse.UNASKED
    truth: Truth = Truth.UNKNOWN
    opened: bool | None = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A course and its reason, for people. With `calls_person`, what is undone still ends as 21."""

    course: Course
    why: str
    calls_person: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """What the journal tells, reduced to what decides.

    `switched`: the switch was begun. `blamed`: a step failed. `reversing`: going back had begun, or was asked for
    (`stopped`). `held`: the requests are held, or were, for a change of the database that has not been taken back;
    `opening`: letting them through again was begun.
    """

    kind: DeploymentKind
    switched: bool
    proven: bool
    blamed: bool
    reversing: bool
    stopped: bool
    last: str | None
    held: bool = False
    opening: bool = False

    @classmethod
    def of(cls, kind: DeploymentKind, journal: Sequence[StepRecord], wish: Wish | None = None) -> Story:
        """`wish` is what a person asked for meanwhile: a deployment that is to be stopped is not finished."""
        switch = next((r.position for r in journal if r.name == "switch"), None)
        proven = is_proven(kind, journal)
        blamed = culprit(journal) is not None
        going_back = any(r.state in (StepState.UNDOING, StepState.UNDONE) for r in journal)
        stopped = wish is not None and not proven
        return cls(
            kind,
            switched=switch is not None,
            proven=proven,
            blamed=blamed,
            reversing=blamed or going_back or stopped,
            stopped=stopped,
            last=journal[-1].name if journal else None,
            held=any(r.name == "hold" and r.state is not StepState.UNDONE for r in journal),
            opening=any(r.name == "open" and r.state is not StepState.UNDONE for r in journal),
        )

    @property
    def is_to_finish(self) -> bool:
        """Whether going forward is what was meant, if the world allows it."""
        if self.reversing:
            return False
        if self.held:
            return self.opening
        return self.proven or self.kind is DeploymentKind.ROLLBACK

    @property
    def calls_person(self) -> bool:
        """A rollback that is taken back ends with the release that somebody wanted to leave, unless they stopped it."""
        return self.kind is DeploymentKind.ROLLBACK and not self.stopped


def asks(story: Story, carries: bool | None) -> frozenset[Side]:
    """Whose health the decision depends on; nobody else is asked, for a slot that hangs takes seconds not to answer."""
    if story.held:
        return frozenset({Side.TARGET}) if story.is_to_finish else frozenset()
    if story.proven and story.is_to_finish:
        return frozenset(Side)
    if not carries:
        return frozenset()
    return frozenset(Side) if story.is_to_finish else frozenset({Side.ORIGIN})


def decide(story: Story, seen: Observed, tried: int) -> Decision:
    """What becomes of a dead deployment that was recovered `tried` times already. Total: any input gets an answer.

    Nobody is ever sent to a slot that does not answer, and no release that was not proven goes forward.
    """
    if tried >= MOST_TRIES:
        return Decision(
            Course.STAY, f"recovery was tried {tried} times and died each time", calls_person=True
        )
    if story.held:
        return _behind_hold(story, seen)
    if seen.carries is None and story.switched:
        return Decision(Course.STAY, "the router does not tell which slot has the traffic", calls_person=True)
    if story.is_to_finish and (story.proven or seen.carries):
        return _finish(story, seen)
    return _take_back(story, seen)


def _behind_hold(story: Story, seen: Observed) -> Decision:
    """While requests are held nobody writes, so all can be taken back with nothing lost. Once they went through people
    have written to the changed database: then nothing goes back by itself, whatever the slots say. A release that was
    not watched to its end is watched again, as there is no other way left."""
    if not story.opening or seen.opened is False:
        return Decision(
            Course.UNDO, "nobody has written since the requests were held: nothing is lost by going back"
        )
    if seen.opened is None:
        why = "the router does not tell whether people have written to the changed database"
        return Decision(Course.STAY, why, calls_person=True)
    if story.is_to_finish and seen.target is Pulse.ANSWERS:
        how = "it was proven" if story.proven else "it answers, and is watched"
        return Decision(Course.FORWARD, f"people have written to the changed database, and {how}")
    why = "people have written to the changed database, which going back would lose"
    return Decision(Course.STAY, why, calls_person=True)


def _finish(story: Story, seen: Observed) -> Decision:
    """Forward when the target answers; else whatever keeps somebody serving."""
    if seen.target is Pulse.ANSWERS:
        why = "it was proven" if story.proven else "it had the traffic, and what it went back to answers"
        return Decision(Course.FORWARD, why)
    if not seen.carries:
        why = "the slot it filled does not answer, and has no traffic"
        return Decision(Course.UNDO, why, story.calls_person)
    if seen.origin is Pulse.ANSWERS:
        why = "the slot it filled does not answer; the one that served before does"
        return Decision(Course.UNDO, why, story.calls_person)
    return Decision(Course.STAY, "neither slot answers", calls_person=True)


def _take_back(story: Story, seen: Observed) -> Decision:
    """Undo, unless that would send people to a slot that is dead."""
    calls = story.calls_person and story.blamed
    if not seen.carries:
        why = "going back had begun" if story.reversing else "it had not switched the traffic"
        return Decision(Course.UNDO, why, calls_person=calls)
    if seen.origin in (Pulse.ANSWERS, Pulse.EMPTY):
        why = "going back had begun" if story.reversing else f"its release was not proven ({_where(story)})"
        return Decision(Course.UNDO, why, calls_person=calls)
    why = "going back would lead to a slot that does not answer; its own, unproven, keeps the traffic"
    return Decision(Course.STAY, why, calls_person=True)


def _where(story: Story) -> str:
    return f"it died in {story.last}" if story.last else "it died before its first step"


def culprit(journal: Sequence[StepRecord]) -> StepRecord | None:
    """The step whose failure began a reversal; it may be undone by now, its error stays. Tidying up is none."""
    switch = next((r.position for r in journal if r.name == "switch"), None)
    for record in journal:
        tidied = record.name in LENIENT and switch is not None and switch < record.position
        if record.error is not None and record.state is not StepState.DONE and not tidied:
            return record
    return None


def is_proven(kind: DeploymentKind, journal: Sequence[StepRecord]) -> bool:
    """Whether a deployment's release was proven; after that it only tidies up, and hears of no wish."""
    return any(r.name == PROOFS[kind] and r.state is StepState.DONE for r in journal)


def has_settled(kind: DeploymentKind, journal: Sequence[StepRecord]) -> bool:
    """Whether a deployment was proven and its tidying begun: what it displaced is of no use to it any more."""
    return is_proven(kind, journal) and any(r.name == "retire" for r in journal)


def unreadable(recorded: Mapping[str, Any], journal: Sequence[StepRecord], version: str) -> str | None:
    """Why this program, `version`, must leave a deployment alone; None when it understands its whole journal.

    `recorded` is what was recorded beside the deployment. A step that is unknown here may have had an effect that only
    the program that wrote it can take back.
    """
    author = recorded.get("backstay")
    by = f"Backstay {author}" if author else "another Backstay"
    format_ = recorded.get("format", 1)
    if format_ not in UNDERSTOOD:
        return f"{by} wrote its journal in format {format_}; this is {version}, which knows up to {FORMAT}"
    strange = [record.name for record in journal if record.name not in STEPS]
    if strange:
        return f"{by} wrote a step {strange[0]!r} into its journal, which {version} does not know"
    return None
