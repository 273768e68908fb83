"""The lease: who may act on an environment, and the growing token that fences everyone else.

A lease lowers the odds that two act at once; only the token, compared where the effect happens (store
transaction, router map), makes a stale owner harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEASE_TIME_S: Final = 600.0
HEARTBEAT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that no other process can ever be taken for it.

    `started` is the kernel's start time of the pid in clock ticks since boot; with the boot id it stays unique
    when pids are used again.
    """

    name: str
    host: str
    pid: int
    started: int
    boot_id: str


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
    """
    if held is None:
        return Claim.TAKE
    if presence is Presence.GONE:
        return Claim.TAKE_OVER
    if now < held.expires_at:
        return Claim.REFUSE
    return Claim.KILL_FIRST if presence is Presence.ALIVE else Claim.TAKE_OVER
