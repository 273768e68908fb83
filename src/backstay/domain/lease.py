"""The lease: who may act on an environment, and the growing token that fences everyone else.

A lease lowers the odds that two act at once; only the token, compared where the effect happens (store
transaction, router map), makes a stale owner harmless.

A process keeps its lease by its heartbeat. A person keeps one, the manual lock for maintenance, for the time asked
for: nothing beats for it, and no dead process ends it.

Anybody may set a wall clock. So on the machine and boot on which an owner was last heard of, its silence is measured by
the clock of that boot; only between machines, and after a reboot, wall clocks decide, and then never alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEASE_TIME_S: Final = 600.0
HEARTBEAT_S: Final = 5.0
LEAST_BEATS: Final = 3
"""A lease lasts at least this many heartbeats, so that one that comes late costs nobody his lease."""
WATCH_S: Final = 2 * HEARTBEAT_S + 1.0
"""How long a lease that seems to have expired is watched for a sign of life before it is taken over."""
JUMP_S: Final = 2.0
"""Two clocks that differ by less were not set; they only run a little apart."""
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
    when pids are used again. Two machines may have one name, and two containers of one machine each a process 7: so
    `machine` and `pid_space` name the installation and the space that the pid belongs to (empty where unknown).
    A person has 0, 0 and nothing of these, so that the same one is equal in every process.
    """

    name: str
    host: str
    pid: int
    started: int
    boot_id: str
    kind: Keeper = Keeper.PROCESS
    machine: str = ""
    pid_space: str = ""

    def __str__(self) -> str:
        who = f"{self.name}@{self.host}"
        return who if self.kind is Keeper.PERSON else f"{who} (pid {self.pid})"

    @property
    def person(self) -> Owner:
        """The person whose process this is."""
        return Owner(self.name, self.host, 0, 0, "", Keeper.PERSON)


class Presence(StrEnum):
    """What can be known about an owner from here."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Uptime:
    """A moment of one boot of one machine: seconds of a clock that counts its sleep too and that nobody can set."""

    boot_id: str
    at: float

    def since(self, earlier: Uptime | None) -> float | None:
        """Seconds from `earlier` until this moment; None when no clock counted them: another machine, a reboot."""
        if earlier is None or earlier.boot_id != self.boot_id or earlier.at > self.at:
            return None
        return self.at - earlier.at


@dataclass(frozen=True, slots=True)
class Now:
    """This moment: seconds since the epoch by the store's clock, which may jump, and this machine's uptime."""

    wall: float
    uptime: Uptime


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease. Times are seconds since the epoch, by the store's clock; it lasts `lasts_s` from the last beat.

    `beat` counts the signs of life under this token; `heard` is when, on its own machine, the owner gave the last one.
    """

    app: str
    environment: str
    token: int
    owner: Owner
    purpose: str
    deployment: str | None
    acquired_at: float
    expires_at: float
    lasts_s: float = LEASE_TIME_S
    beat: int = 0
    heard: Uptime | None = None

    @property
    def is_manual(self) -> bool:
        return self.owner.kind is Keeper.PERSON

    def left_s(self, now: Now) -> float:
        """Seconds until it expires, never more than it lasts; 0 or less when it has expired.

        On the boot on which its owner was last heard of, no jump of the wall clock counts.
        """
        silent_s = now.uptime.since(self.heard)
        if silent_s is not None:
            return self.lasts_s - silent_s
        return min(self.expires_at - now.wall, self.lasts_s)

    def has_expired(self, now: Now) -> bool:
        return self.left_s(now) <= 0

    def has_run_out(self, now: Now) -> bool:
        """Whether this is a manual lock whose time is over: then the environment is free, whatever the row says."""
        return self.is_manual and self.has_expired(now)

    def ends_at(self, now: Now) -> float:
        """When it expires by the wall clock as it goes now: what was recorded, unless that clock jumped since."""
        ends = now.wall + self.left_s(now)
        return self.expires_at if abs(ends - self.expires_at) <= JUMP_S else ends

    def is_misdated(self, now: Now) -> bool:
        """Whether the recorded end cannot be right, because a wall clock was set. Left so, a clock set back would
        make a lease immortal, and one set forward end a person's lock at the next reboot."""
        return self.ends_at(now) != self.expires_at


class Claim(StrEnum):
    """What a newcomer may do about an existing lease."""

    TAKE = "take"
    TAKE_OVER = "take_over"
    WATCH = "watch"
    KILL_FIRST = "kill_first"
    REFUSE = "refuse"


def claim(held: Lease | None, presence: Presence, now: Now, *, watched: bool = False) -> Claim:
    """Decide what a newcomer may do. `watched`: we looked for WATCH_S, and its owner gave no sign of life.

    A free lease is taken. An owner that is provably gone loses it at once. One that seems to have expired is watched
    first: a clock that was set, or a machine that slept, looks the same and ends with the next heartbeat. Then one
    on this host is killed and seen dead before; one elsewhere cannot be, and its token is what keeps it from acting.
    A person is believed until the time asked for is over, wherever the process is that said so.
    """
    if held is None:
        return Claim.TAKE
    if held.is_manual:
        return Claim.TAKE_OVER if held.has_run_out(now) else Claim.REFUSE
    if presence is Presence.GONE:
        return Claim.TAKE_OVER
    if not held.has_expired(now):
        return Claim.REFUSE
    if not watched:
        return Claim.WATCH
    return Claim.KILL_FIRST if presence is Presence.ALIVE else Claim.TAKE_OVER


def shows_life(before: Lease, later: Lease) -> bool:
    """Whether somebody acted under the lease between two looks at it: its owner beat, or it changed hands."""
    return (before.token, before.owner, before.beat) != (later.token, later.owner, later.beat)


def still_ours(ours: Lease, held: Lease | None) -> bool:
    """Whether who took `ours` may act: nobody else has the lease now."""
    return held is not None and (held.token, held.owner) == (ours.token, ours.owner)


class Freeing(StrEnum):
    """What a person who wants an environment unlocked gets."""

    NOTHING = "nothing"
    FREE = "free"
    NEEDS_FORCE = "needs_force"
    ABORT = "abort"
    RECOVER = "recover"
    WAIT = "wait"


def free(held: Lease | None, presence: Presence, person: Owner, now: Now, *, force: bool) -> Freeing:
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
