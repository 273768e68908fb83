"""HAProxy as the router port wants it: files first, then the running process, then a look whether it took.

How it is started, listens and ends is the matter of `keeper.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from backstay.adapters.haproxy import hold, install, maps, runtime
from backstay.adapters.haproxy.config import NOWHERE, SERVER, backend, render, shape
from backstay.adapters.haproxy.files import write_durably
from backstay.adapters.haproxy.keeper import Keeper
from backstay.domain.environment import Bind
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic
from backstay.errors import RouterError
from backstay.ports.router import Hold, RouterState, SlotRoutes

RESPAWN_S = 2.0
POLL_S = 0.02


class HaproxyRouter:
    """Implements ports.router.Router for one environment; its files and sockets lie in `folder`."""

    def __init__(self, folder: Path, app: str, environment: str) -> None:
        self.folder = folder
        self.name = f"{app}/{environment}"
        self.keeper = Keeper(folder)
        self.admin = self.keeper.admin
        self.map_file = folder / "router.map"
        self.nonce_file = folder / "nonce.map"
        self.config_file = self.keeper.config_file

    def ensure(self, binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        self.keeper.prepare()
        known = self._read_map()
        _refuse_stale(known, token)
        weights = self._present(known).under(token)
        hold.write_files(self.folder)
        write_durably(self.nonce_file, f"{token} {nonce}\n")
        write_durably(self.map_file, maps.compose(weights))
        if not self.config_file.exists():
            write_durably(self.config_file, render(self.folder, self.name, len(binds), {}))
        self.keeper.listen_on(binds)
        self._obey(weights, nonce)

    def version(self) -> str:
        return install.version()

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        self.keeper.refuse_taken(binds)

    def load(self, slots: Mapping[Slot, SlotRoutes], token: int) -> None:
        status = self.keeper.ask("status")
        before = self.config_file.read_text()
        text = render(self.folder, self.name, len(status["binds"]), slots)
        known = {(row.slot, row.component) for row in runtime.servers(self.admin)}
        self._refuse_if_newer(token)
        if shape(text) != shape(before) or not _servers_of(slots) <= known:
            self.keeper.reload(status["binds"], text)
            return
        write_durably(self.config_file, text)
        rows = {(row.slot, row.component): row for row in runtime.servers(self.admin)}
        for (slot, component), row in rows.items():
            self._refuse_if_newer(token)
            self._fill(Slot(slot), component, slots.get(Slot(slot)), row)

    def expect(self, slot: Slot, token: int) -> None:
        self._refuse_if_newer(token)
        # A server in maintenance is looked at every 500 ms, one that is down every 100 ms. Nobody answers at NOWHERE.
        host, port = NOWHERE
        for row in runtime.servers(self.admin):
            if row.slot == slot:
                self._readdress(f"{backend(slot, row.component)}/{SERVER}", host, port)

    def wait_up(self, slot: Slot, deadline_s: float) -> None:
        end = time.monotonic() + deadline_s
        while True:
            rows = [row for row in runtime.servers(self.admin) if row.slot == slot]
            down = [row for row in rows if not row.is_up]
            if rows and not down:
                return
            if time.monotonic() > end:
                seen = ", ".join(f"{row.component} is {row.status}" for row in down) or "it has no servers"
                raise RouterError(
                    f"the router does not find {slot} up within {deadline_s:g} s: {seen}",
                    hint="does the health path answer 200–399 with the configured headers?",
                )
            time.sleep(POLL_S)

    def switch(self, to: Slot, token: int) -> float:
        weights = replace(self._obeyed(token), green=100 if to is Slot.GREEN else 0)
        write_durably(self.map_file, maps.compose(weights))
        began = time.monotonic()
        command = f"set map {self.map_file} {weights.weight_key} {weights.green}"
        runtime.order(self.admin, command, patience_s=RESPAWN_S)
        seen = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        took_s = time.monotonic() - began
        if seen is None or seen.token != token or seen.green != weights.green:
            raise RouterError(f"the switch to {to} did not take: the router shows {seen}")
        self.keeper.tell_draining(command)
        return took_s

    def hold(self, mode: Hold, deadline_s: float, token: int) -> None:
        if not hold.is_known_to(self.config_file.read_text()):
            raise RouterError(
                "the router runs with a configuration that cannot hold requests", hint="load it anew"
            )
        self._hold(replace(self._obeyed(token), held=mode, until=math.ceil(time.time() + deadline_s)))

    def release(self, token: int) -> None:
        # `until` stays: a held request that saw it end before the hold itself would get the maintenance page.
        self._hold(replace(self._obeyed(token), held=None))

    def drain(self, slot: Slot, deadline_s: float, token: int, spare: int = 0) -> int:
        end = time.monotonic() + deadline_s
        while True:
            rows = [row for row in runtime.servers(self.admin) if row.slot == slot]
            left = sum(row.in_flight for row in rows) - spare
            if left <= 0:
                return 0
            if time.monotonic() > end:
                self._refuse_if_newer(token)
                for row in () if spare else rows:
                    name = f"{backend(slot, row.component)}/{SERVER}"
                    runtime.order(self.admin, f"shutdown sessions server {name}")
                return left
            time.sleep(POLL_S)

    def state(self) -> RouterState:
        try:
            shown = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
            rows = runtime.servers(self.admin)
        except RouterError:
            return RouterState(False, None, dict.fromkeys(Slot, 0), {}, dict.fromkeys(Slot, 0))
        kept = self.keeper.is_there()
        filled = {slot for slot in Slot if any(r.slot == slot and not r.is_empty for r in rows)}
        share = _shares(shown)
        return RouterState(
            running=True,
            token=shown.token if shown else None,
            weights={slot: share[slot] if slot in filled else 0 for slot in Slot},
            up={slot: frozenset(r.component for r in rows if r.slot == slot and r.is_up) for slot in Slot},
            in_flight={slot: sum(r.in_flight for r in rows if r.slot == slot) for slot in Slot},
            held=shown.held if shown else None,
            recorded=_shares(self._read_map()),
            kept=kept,
            binds=self.keeper.binds() if kept else None,
            addresses={
                slot: {r.component: r.address for r in rows if r.slot == slot and not r.is_empty}
                for slot in filled
            },
        )

    def traffic(self, slot: Slot, window_s: float, slow_s: float) -> Traffic:
        answer = self.keeper.ask("traffic", slot=slot.value, window_s=window_s, slow_s=slow_s)
        return Traffic(*answer["counts"])

    def stop(self) -> None:
        self.keeper.stop()

    # ---- inside

    def _present(self, known: maps.Weights | None) -> maps.Weights:
        """Weights and hold as the router has them now; the file counts only when no router runs."""
        try:
            shown = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        except RouterError:
            shown = None
        return shown or known or maps.Weights(0, maps.NOBODY)

    def _obeyed(self, token: int) -> maps.Weights:
        """Weights and hold under `token`; RouterError when the router obeys another one."""
        known = self._read_map()
        if known is None or known.token != token:
            raise RouterError(
                f"the router obeys token {known.token if known else None}; token {token} is stale"
            )
        return known

    def _hold(self, weights: maps.Weights) -> None:
        """Write a hold, or its end, down; then have the running HAProxy and those that drain obey it."""
        write_durably(self.map_file, maps.compose(weights))
        self._put_all(runtime.ask(self.admin, f"show map {self.map_file}", RESPAWN_S), weights)
        seen = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        if seen != weights:
            raise RouterError(f"the hold did not take: the router shows {seen}")

    def _refuse_if_newer(self, token: int) -> None:
        """RouterError when the running router obeys a newer token than `token`."""
        _refuse_stale(maps.parse(runtime.ask(self.admin, f"show map {self.map_file}", RESPAWN_S)), token)

    def _read_map(self) -> maps.Weights | None:
        try:
            return maps.parse(self.map_file.read_text())
        except FileNotFoundError:
            return None

    def _obey(self, weights: maps.Weights, nonce: str) -> None:
        """Make the running HAProxy read the weight under the new token; the token's own line comes last."""
        nonces = runtime.ask(self.admin, f"show map {self.nonce_file}")
        self._put(self.nonce_file, nonces, str(weights.token), nonce)
        shown = runtime.ask(self.admin, f"show map {self.map_file}")
        self._put_all(shown, weights)
        before = maps.parse(shown)
        for key in maps.stale_keys(shown, weights.token, before.token if before else weights.token):
            runtime.ask(self.admin, f"del map {self.map_file} {key}")
        seen = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        if seen != weights:
            raise RouterError(f"the router did not take token {weights.token}: it shows {seen}")

    def _put_all(self, shown: str, weights: maps.Weights) -> None:
        """Make HAProxy, and those that drain, have these entries; `shown` is the answer to `show map`."""
        for key, value in weights.entries:
            self.keeper.tell_draining(self._put(self.map_file, shown, key, str(value)))

    def _put(self, file: Path, shown: str, key: str, value: str) -> str:
        """Set a key of a map, adding it when `shown` (the answer to `show map`) lacks it; the command that did it."""
        command = f"{'set' if maps.has(shown, key) else 'add'} map {file} {key} {value}"
        runtime.order(self.admin, command)
        return command

    def _fill(self, slot: Slot, component: str, routes: SlotRoutes | None, row: runtime.ServerRow) -> None:
        """Give a server its address, or put it into maintenance. One that changes starts as down: it is up only
        after a check of its own."""
        name = f"{backend(slot, component)}/{SERVER}"
        if routes is None:
            if not row.is_empty:
                command = f"set server {name} state maint"
                runtime.order(self.admin, command)
                self.keeper.tell_draining(command)
            return
        upstream = (routes.upstreams or {})[component]
        answer = runtime.ask(self.admin, f"show servers state {backend(slot, component)}")
        address = (upstream.host, str(upstream.port))
        if not row.is_empty and _address(answer) == address:
            return
        self._readdress(name, upstream.host, upstream.port)

    def _readdress(self, server: str, host: str, port: int) -> None:
        """Another address, and down until a check finds it up; also for the clients of an HAProxy that drains."""
        command = (
            f"set server {server} state maint; set server {server} addr {host} port {port}; "
            f"set server {server} state ready; set server {server} health down"
        )
        runtime.order(
            self.admin,
            command,
            expected=("IP changed", "port changed", "no need to change", "nothing changed"),
        )
        self.keeper.tell_draining(command)


def _shares(weights: maps.Weights | None) -> dict[Slot, int]:
    """Percent per slot; what a router without a map does when nothing is known."""
    green = weights.green if weights else maps.NOBODY
    return {Slot.GREEN: green, Slot.BLUE: 100 - green}


def _refuse_stale(known: maps.Weights | None, token: int) -> None:
    if known is not None and known.token > token:
        raise RouterError(f"the router obeys token {known.token}; token {token} is stale")


def _servers_of(slots: Mapping[Slot, SlotRoutes]) -> set[tuple[str, str]]:
    """Slot and component of every server that must be there."""
    return {(slot.value, name) for slot, routes in slots.items() for name in routes.upstreams or ()}


def _address(servers_state: str) -> tuple[str, str] | None:
    """Address and port of the one server in the answer to `show servers state` (fields 5 and 19, counted from 1)."""
    for line in servers_state.splitlines():
        fields = line.split()
        if len(fields) > 18 and fields[0].isdigit():
            return fields[4], fields[18]
    return None
