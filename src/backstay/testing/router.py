"""A router in memory that fences like the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backstay.domain.environment import Bind
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic
from backstay.errors import RouterError
from backstay.ports.router import Hold, RouterState, SlotRoutes


class FakeRouter:
    """`traffic_of` is what `traffic` answers per slot; `sick` holds slots that never come up,
    `taken` ports on which a stranger listens; `unusable` says why no HAProxy can be had; `holds` is the story of
    `held`.

    `live` has the traffic; `filed` is what its file says, with which it begins again; not `kept`, nobody would start it
    again. `binds` are where it listens. `half_way` is called in the middle of every act, where the real one has done
    one thing and not yet the next.
    """

    def __init__(self) -> None:
        self.running = False
        self.kept = True
        self.token: int | None = None
        self.live: Slot | None = None
        self.filed: Slot | None = None
        self.loaded: dict[Slot, SlotRoutes] = {}
        self.sick: set[Slot] = set()
        self.traffic_of: dict[Slot, Traffic] = {}
        self.flips: list[Slot] = []
        self.drained: list[Slot] = []
        self.spared: list[int] = []
        self.busy: dict[Slot, int] = {}
        self.unusable: str | None = None
        self.taken: set[int] = set()
        self.binds: frozenset[Bind] = frozenset()
        self.held: Hold | None = None
        self.holds: list[Hold | None] = []
        self.half_way: Callable[[str], None] = lambda what: None

    def ensure(self, binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        if self.unusable is not None:
            raise RouterError(self.unusable)
        self._refuse_stale(token)
        self.refuse_taken(tuple(bind for bind in binds if bind not in self.binds))
        if not self.running:
            self.running, self.live = True, self.filed
            self.half_way("router.ensure, started")
        self.binds = frozenset(binds)
        self.half_way("router.ensure, listening")
        self.filed, self.kept = self.live, True
        self.half_way("router.ensure, filed")
        self.token = token

    def version(self) -> str:
        if self.unusable is not None:
            raise RouterError(self.unusable)
        return "2.6.12"

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        for bind in binds:
            if bind.port in self.taken:
                raise RouterError(f"port {bind.port} on {bind.host} is taken by nginx (pid 7)")

    def load(self, slots: Mapping[Slot, SlotRoutes], token: int) -> None:
        self._refuse_stale(token)
        self._answer()
        for slot in Slot:
            if slot in slots:
                self.loaded[slot] = slots[slot]
            else:
                self.loaded.pop(slot, None)
            self.half_way(f"router.load, {slot}")

    def expect(self, slot: Slot, token: int) -> None:
        self._refuse_stale(token)
        self._answer()
        if slot is self.live:
            raise RouterError(f"{slot} is live")
        self.loaded.pop(slot, None)

    def wait_up(self, slot: Slot, deadline_s: float) -> None:
        self._answer()
        if slot in self.sick or slot not in self.loaded:
            raise RouterError(f"{slot} did not come up within {deadline_s:g} s")

    def switch(self, to: Slot, token: int) -> float:
        if token != self.token:
            raise RouterError(f"token {token} is stale, the router obeys {self.token}")
        self.filed = to
        self.half_way("router.switch, filed")
        self._answer()
        self.live = to
        self.flips.append(to)
        return 0.002

    def hold(self, mode: Hold, deadline_s: float, token: int) -> None:
        self._hold(mode, token)

    def release(self, token: int) -> None:
        self._hold(None, token)

    def _hold(self, mode: Hold | None, token: int) -> None:
        if token != self.token:
            raise RouterError(f"token {token} is stale, the router obeys {self.token}")
        self.held = mode
        self.holds.append(mode)

    def drain(self, slot: Slot, deadline_s: float, token: int, spare: int = 0) -> int:
        self._refuse_stale(token)
        self._answer()
        self.drained.append(slot)
        self.spared.append(spare)
        return 0

    def state(self) -> RouterState:
        recorded = {slot: 100 if slot is self.filed else 0 for slot in Slot}
        if not self.running:
            nothing = dict.fromkeys(Slot, 0)
            return RouterState(False, None, nothing, {}, nothing, recorded)
        return RouterState(
            running=True,
            token=self.token,
            weights={slot: 100 if slot is self.live and slot in self.loaded else 0 for slot in Slot},
            up={slot: frozenset(routes.upstreams or ()) for slot, routes in self.loaded.items()},
            in_flight={slot: self.busy.get(slot, 0) for slot in Slot},
            held=self.held,
            recorded=recorded,
            kept=self.kept,
            binds=self.binds if self.kept else None,
            addresses={
                slot: {name: f"{up.host}:{up.port}" for name, up in (routes.upstreams or {}).items()}
                for slot, routes in self.loaded.items()
            },
        )

    def traffic(self, slot: Slot, window_s: float, slow_s: float) -> Traffic:
        return self.traffic_of.get(slot, Traffic())

    def stop(self) -> None:
        self.running, self.binds = False, frozenset()

    def _answer(self) -> None:
        if not self.running:
            raise RouterError("the router does not answer")

    def _refuse_stale(self, token: int) -> None:
        if self.token is not None and self.token > token:
            raise RouterError(f"the router obeys token {self.token}; token {token} is stale")
