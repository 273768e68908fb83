"""The lease: who may act on an environment, and the growing token that fences everyone else.

A lease lowers the odds that two act at once; only the token, compared where the effect happens (store
transaction, router map), makes a stale owner harmless.

A process keeps its lease by its heartbeat. A person keeps one, the manual lock for maintenance, for the time asked
for: nothing beats for it, and no dead process ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

LEASE_TIME_S: Final = 600.0
HEARTBEAT_S: Final = 5.0
LONGEST_LOCK_S: Final = 7 * 24 * 3600.0
"""A manual lock that somebody forgot ends at the latest after this."""


class Keeper(StrEnum):
    """What keeps a lease: the heartbeat of a process, or a person's word."""

    PROCESS = "process"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that no other process can ever be taken for it; or a person, by name and host alone.

    `started` is the kernel's start time of the pid in clock ticks since boot; with the boot id it stays unique
    when pids are used again. A person has 0, 0 and an empty boot id, so that the same one is equal in every process.
    """

    name: str
    host: str
    pid: int
    started: int
    boot_id: str
    kind: Keeper = Keeper.PROCESS

    def __str__(self) -> str:
        who = f"{self.name}@{self.host}"
        return who if self.kind is Keeper.PERSON else f"{who} (pid {self.pid})"

    @property
    def person(self) -> Owner:
        """The person whose process this is."""
        return replace(self, pid=0, started=0, boot_id="", kind=Keeper.PERSON)


class Presence(StrEnum):
    """What can be known about an owner from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease. Times are seconds since the epoch, of the store's host."""

    app: str
    environment: str
    token: int
    owner: Owner
    purpose: str
    deployment: str | None
    acquired_at: float
    expires_at: float

    @property
    def is_manual(self) -> bool:
        return self.owner.kind is Keeper.PERSON

    def has_run_out(self, now: float) -> bool:
        """Whether this is a manual lock whose time is over: then the environment is free, whatever the row says."""
        return self.is_manual and now >= self.expires_at


class Claim(StrEnum):
    """What a newcomer may do about an existing lease."""

    TAKE = "take"
    TAKE_OVER = "take_over"
    KILL_FIRST = "kill_first"
    REFUSE = "refuse"


def claim(held: Lease | None, presence: Presence, now: float) -> Claim:
    """Decide what a newcomer may do.

    A free lease is taken. An owner that is provably gone loses it at once. An owner that is alive on this host
    but expired is killed and seen dead first; one elsewhere is believed until it expires, and not longer.
    A person is believed until the time asked for is over, wherever the process is that said so.
    """
    if held is None:
        return Claim.TAKE
    if held.is_manual:
        return Claim.TAKE_OVER if held.has_run_out(now) else Claim.REFUSE
    if presence is Presence.GONE:
        return Claim.TAKE_OVER
    if now < held.expires_at:
        return Claim.REFUSE
    return Claim.KILL_FIRST if presence is Presence.ALIVE else Claim.TAKE_OVER


class Freeing(StrEnum):
    """What a person who wants an environment unlocked gets."""

    NOTHING = "nothing"
    FREE = "free"
    NEEDS_FORCE = "needs_force"
    ABORT = "abort"
    RECOVER = "recover"
    WAIT = "wait"


def free(held: Lease | None, presence: Presence, person: Owner, now: float, *, force: bool) -> Freeing:
    """Decide whether `person` may free a lease by hand.

    A manual lock goes when it is one's own, run out, or forced. A deployment's lease never goes so: a living one
    is aborted, and what a dead one began is recovered, because only its journal knows what must be taken back.
    What a dead process held without a deployment has nothing to take back and goes.
    """
    if held is None or held.has_run_out(now):
        return Freeing.NOTHING
    if held.is_manual:
        return Freeing.FREE if force or held.owner == person else Freeing.NEEDS_FORCE
    if held.deployment is None:
        return Freeing.FREE if presence is Presence.GONE else Freeing.WAIT
    return Freeing.RECOVER if presence is Presence.GONE else Freeing.ABORT


def cure(held: Lease) -> str:
    """What to do about an environment that `held` keeps from one: the next command."""
    if held.is_manual:
        return f"backstay lock release {held.environment} frees it (with --force when it is somebody else's)"
    if held.deployment is None:
        return f"wait for its end; backstay lock show {held.environment} tells when it is free"
    return f"backstay attach {held.environment} follows it, backstay abort {held.environment} stops it safely"
