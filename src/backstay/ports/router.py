"""The router of one environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from backstay.domain.environment import Bind
from backstay.domain.release import Health, Route
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a component of a slot answers, and how the router checks it."""

    component: str
    host: str
    port: int
    health: Health


@dataclass(frozen=True, slots=True)
class SlotRoutes:
    """What stands in a slot, as the router needs it. An empty slot has no upstreams."""

    routes: tuple[Route, ...] = ()
    upstreams: Mapping[str, Upstream] | None = None


class Hold(StrEnum):
    """What the router keeps waiting. `WRITES`: every request but GET, HEAD and OPTIONS, and what becomes a websocket.
    `PAGE`: nothing waits, everybody gets the maintenance page."""

    WRITES = "writes"
    ALL = "all"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class RouterState:
    """What the router does now, read from the router itself. Weights are percent per slot and sum to 100.

    `token` is the one whose weight counts. `up` holds the components whose server is up, per slot. `held` says
    what waits, None when everything goes through. `recorded` are the weights it would begin with if it were started
    again now, and `addresses` where it looks for the components of each slot, as `host:port`; a slot that it knows
    nothing of is absent. `kept`: somebody is there who would start it again. `binds`: where it listens, None when
    nobody tells.
    """

    running: bool
    token: int | None
    weights: Mapping[Slot, int]
    up: Mapping[Slot, frozenset[str]]
    in_flight: Mapping[Slot, int]
    recorded: Mapping[Slot, int] = field(default_factory=dict)
    addresses: Mapping[Slot, Mapping[str, str]] = field(default_factory=dict)
    kept: bool = True
    held: Hold | None = None
    binds: frozenset[Bind] | None = None


class Router(Protocol):
    """A router with two slots. Raises RouterError. Nothing here reloads it except a changed shape in `load`.

    What changes it takes the `token` of who changes it, and is refused when the router obeys a newer one already.
    """

    def ensure(self, binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        """Make sure the holder and the router run, listen on `binds`, and obey `token` from now on.

        Weights stay as they are, and so does a hold. Probes that carry `nonce` learn which slot answered, and no
        hold concerns them. Refuses (RouterError), and listens on as before, when a bind is taken by somebody else.
        Of two that overlap (one address, and every address) the nearer one answers.
        """

    def version(self) -> str:
        """The version of the installed router; RouterError when there is none, or one too old. Reads only."""

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        """RouterError when somebody else listens where `ensure` would listen. Reads only."""

    def load(self, slots: Mapping[Slot, SlotRoutes], token: int) -> None:
        """Put these upstreams into the slots. Files first, then runtime commands; a reload only if the shape
        (components, routes, health) changed. Weights stay. A slot that is absent is put into maintenance."""

    def expect(self, slot: Slot, token: int) -> None:
        """Take what stands in `slot`, which must not be live, off the router: `load` will soon put other upstreams
        there. From now on they are looked for often, so that they are found up as soon as they are."""

    def wait_up(self, slot: Slot, deadline_s: float) -> None:
        """Return once every upstream of `slot` is up by the router's own check; RouterError after the deadline."""

    def switch(self, to: Slot, token: int) -> float:
        """Send all traffic to `to` in one command; returns the seconds from the command to its confirmed read-back.

        The weight is written under `token`; with a stale token nobody reads it and RouterError is raised.
        """

    def hold(self, mode: Hold, deadline_s: float, token: int) -> None:
        """Let requests wait, at most `deadline_s` seconds from now; from then on they get a maintenance page (503
        with Retry-After) until `release`. What is in flight already goes on. Outlives a restart of the router.

        Written under `token`; with a stale token nobody reads it and RouterError is raised.
        """

    def release(self, token: int) -> None:
        """Let everything that waits go on, to where the weights point now. RouterError when `token` is stale."""

    def drain(self, slot: Slot, deadline_s: float, token: int, spare: int = 0) -> int:
        """Wait until nothing is in flight on `slot`; returns how many sessions were left, and cut, at the deadline.

        `spare` sessions are not waited for: those that began with what stood in the slot before, such as
        websockets. The router cannot tell them from others, so where there are any, nothing is cut.
        """

    def state(self) -> RouterState:
        """Read the router's own view. A router that does not run gives `running=False`."""

    def traffic(self, slot: Slot, window_s: float, slow_s: float) -> Traffic:
        """What the slot answered in the last `window_s` seconds (at most 600), our own probes left out."""

    def stop(self) -> None:
        """End the router and its holder; nothing happens when none runs."""
