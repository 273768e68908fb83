"""HAProxy as the router port wants it: files first, then the running process, then a look whether it took."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backstay.adapters.detach import detach, exit_status
from backstay.adapters.files import write_durably
from backstay.adapters.haproxy import maps, runtime
from backstay.adapters.haproxy.config import (
    CANDIDATE,
    CONFIG,
    NOWHERE,
    SERVER,
    backend,
    render,
    shape,
    with_binds,
)
from backstay.adapters.haproxy.listeners import listener
from backstay.domain.environment import Bind
from backstay.domain.slot import Slot
from backstay.domain.verdict import Traffic
from backstay.errors import RouterError
from backstay.ports.router import RouterState, SlotRoutes

START_DEADLINE_S = 10.0
HOLDER_DEADLINE_S = 25.0
RESPAWN_S = 2.0
POLL_S = 0.02
LONGEST_PATH = 90
LEAST_VERSION = (2, 6)


class HaproxyRouter:
    """Implements ports.router.Router for one environment; its files and sockets lie in `folder`."""

    def __init__(self, folder: Path, app: str, environment: str) -> None:
        self.folder = folder
        self.name = f"{app}/{environment}"
        self.admin = folder / "admin.sock"
        self.map_file = folder / "router.map"
        self.nonce_file = folder / "nonce.map"
        self.config_file = folder / CONFIG

    def ensure(self, binds: tuple[Bind, ...], nonce: str, token: int) -> None:
        self._prepare()
        known = self._read_map()
        if known is not None and known.token > token:
            raise RouterError(f"the router obeys token {known.token}; token {token} is stale")
        weights = maps.Weights(token, self._present_green(known))
        write_durably(self.nonce_file, f"{token} {nonce}\n")
        write_durably(self.map_file, maps.compose(weights))
        if not self.config_file.exists():
            write_durably(self.config_file, render(self.folder, self.name, len(binds), {}))
        self._listen_on(binds)
        self._obey(weights, nonce)

    def version(self) -> str:
        binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
        try:
            said = subprocess.run(
                [binary, "-v"], capture_output=True, text=True, timeout=5, check=False
            ).stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RouterError("haproxy is not installed", hint="apt-get install haproxy") from error
        found = re.search(r"version ((\d+)\.(\d+)[\w.]*)", said)
        if found is None or (int(found[2]), int(found[3])) < LEAST_VERSION:
            raise RouterError(
                f"haproxy 2.6 or newer is needed, found: {said.splitlines()[:1]}",
                hint="apt-get install haproxy, from a release or a source that has 2.6",
            )
        return found[1]

    def refuse_taken(self, binds: tuple[Bind, ...]) -> None:
        try:
            ours = {(host, port) for host, port in self._holder("status")["binds"]}
        except RouterError:
            ours = set()
        wanted = {(bind.host or "0.0.0.0", bind.port) for bind in binds}
        self._refuse_taken(sorted(wanted - ours))

    def load(self, slots: Mapping[Slot, SlotRoutes]) -> None:
        status = self._holder("status")
        before = self.config_file.read_text()
        text = render(self.folder, self.name, len(status["binds"]), slots)
        known = {(row.slot, row.component) for row in runtime.servers(self.admin)}
        if shape(text) != shape(before) or not _servers_of(slots) <= known:
            self._reload(status["binds"], text)
            return
        write_durably(self.config_file, text)
        rows = {(row.slot, row.component): row for row in runtime.servers(self.admin)}
        for (slot, component), row in rows.items():
            self._fill(Slot(slot), component, slots.get(Slot(slot)), row)

    def expect(self, slot: Slot) -> None:
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
        known = self._read_map()
        if known is None or known.token != token:
            raise RouterError(
                f"the router obeys token {known.token if known else None}; token {token} is stale"
            )
        green = 100 if to is Slot.GREEN else 0
        weights = maps.Weights(token, green)
        write_durably(self.map_file, maps.compose(weights))
        began = time.monotonic()
        command = f"set map {self.map_file} {weights.weight_key} {green}"
        runtime.order(self.admin, command, patience_s=RESPAWN_S)
        seen = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        took_s = time.monotonic() - began
        if seen is None or seen.token != token or seen.green != green:
            raise RouterError(f"the switch to {to} did not take: the router shows {seen}")
        self._tell_draining(command)
        return took_s

    def drain(self, slot: Slot, deadline_s: float) -> int:
        end = time.monotonic() + deadline_s
        while left := sum(row.in_flight for row in runtime.servers(self.admin) if row.slot == slot):
            if time.monotonic() > end:
                for row in runtime.servers(self.admin):
                    if row.slot == slot:
                        name = f"{backend(slot, row.component)}/{SERVER}"
                        runtime.order(self.admin, f"shutdown sessions server {name}")
                return left
            time.sleep(POLL_S)
        return 0

    def state(self) -> RouterState:
        try:
            shown = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
            rows = runtime.servers(self.admin)
        except RouterError:
            return RouterState(False, None, dict.fromkeys(Slot, 0), {}, dict.fromkeys(Slot, 0))
        filled = {slot for slot in Slot if any(r.slot == slot and not r.is_empty for r in rows)}
        green = shown.green if shown else maps.NOBODY
        share = {Slot.GREEN: green, Slot.BLUE: 100 - green}
        return RouterState(
            running=True,
            token=shown.token if shown else None,
            weights={slot: share[slot] if slot in filled else 0 for slot in Slot},
            up={slot: frozenset(r.component for r in rows if r.slot == slot and r.is_up) for slot in Slot},
            in_flight={slot: sum(r.in_flight for r in rows if r.slot == slot) for slot in Slot},
        )

    def traffic(self, slot: Slot, window_s: float, slow_s: float) -> Traffic:
        answer = self._holder("traffic", slot=slot.value, window_s=window_s, slow_s=slow_s)
        return Traffic(*answer["counts"])

    def stop(self) -> None:
        try:
            self._holder("stop")
        except RouterError:
            self._end_orphan()
            return
        end = time.monotonic() + START_DEADLINE_S
        while (self.folder / "holder.sock").exists() and time.monotonic() < end:
            time.sleep(POLL_S)

    # ---- inside

    def _prepare(self) -> None:
        if len(str(self.admin)) > LONGEST_PATH:
            raise RouterError(
                f"{self.admin} is too long for a socket ({len(str(self.admin))} bytes, at most {LONGEST_PATH})",
                hint="set BACKSTAY_HOME to a shorter path",
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _present_green(self, known: maps.Weights | None) -> int:
        """Green's weight as the router has it now; the file counts only when no router runs."""
        try:
            shown = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        except RouterError:
            shown = None
        found = shown or known
        return found.green if found else maps.NOBODY

    def _tell_draining(self, command: str) -> None:
        """Pass a command on to HAProxys that were reloaded and still have clients. Without a holder there is nobody
        who could, and its death is healed by the next `ensure`."""
        with contextlib.suppress(RouterError):
            self._holder("relay", command=command)

    def _read_map(self) -> maps.Weights | None:
        try:
            return maps.parse(self.map_file.read_text())
        except FileNotFoundError:
            return None

    def _listen_on(self, binds: tuple[Bind, ...]) -> None:
        """A holder that listens on exactly these addresses, with HAProxy running on them."""
        wanted = sorted((bind.host or "0.0.0.0", bind.port) for bind in binds)
        try:
            status = self._holder("status")
        except RouterError:
            self.version()
            self._refuse_taken(wanted)
            self._start_holder()
            status = self._holder("status")
        have = sorted((host, port) for host, port in status["binds"])
        if have != wanted:
            self._refuse_taken([address for address in wanted if address not in have])
            text = with_binds(self.config_file.read_text(), len(wanted))
            self._reload([list(address) for address in wanted], text)
        self._await_haproxy(None)

    def _refuse_taken(self, addresses: list[tuple[str, int]]) -> None:
        """Refuse an address on which anybody but an orphaned HAProxy of ours listens."""
        for host, port in addresses:
            found = listener(port)
            if found is None or self._is_orphan(found[0]) or _can_bind(host, port):
                continue
            raise RouterError(
                f"port {port} on {host} is taken by {found[1]} (pid {found[0]})",
                hint="stop it, or choose another router.bind",
                state="nothing was changed",
            )

    def _is_orphan(self, pid: int) -> bool:
        try:
            return str(self.config_file).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def _end_orphan(self) -> None:
        """End an HAProxy whose holder is gone."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "haproxy.pid").read_text())
            if self._is_orphan(pid):
                os.kill(pid, signal.SIGTERM)

    def _start_holder(self) -> None:
        pid = detach("backstay.adapters.haproxy.holder", [str(self.folder)], self.folder / "holder.log")
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            try:
                self._holder("status")
            except RouterError:
                time.sleep(POLL_S)
            else:
                return
            if exit_status(pid) is not None:
                break
        raise RouterError("the router's holder did not start", hint=f"look at {self.folder / 'holder.log'}")

    def _reload(self, binds: list[Any], text: str) -> None:
        """Have the holder check `text` and, only if HAProxy accepts it, make it the configuration and load it."""
        write_durably(self.folder / CANDIDATE, text)
        answer = self._holder("apply", binds=binds)
        self._await_haproxy(answer["haproxy"])

    def _await_haproxy(self, pid: int | None) -> None:
        """Return once HAProxy (that of `pid`, when given) answers on its admin socket."""
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end:
            seen = runtime.process_id(self.admin)
            if seen is not None and (pid is None or seen == pid):
                return
            time.sleep(POLL_S)
        raise RouterError("HAProxy does not come up", hint=f"look at {self.folder / 'holder.log'}")

    def _obey(self, weights: maps.Weights, nonce: str) -> None:
        """Make the running HAProxy read the weight under the new token; the token's own line comes last."""
        nonces = runtime.ask(self.admin, f"show map {self.nonce_file}")
        self._put(self.nonce_file, nonces, str(weights.token), nonce)
        shown = runtime.ask(self.admin, f"show map {self.map_file}")
        self._put(self.map_file, shown, weights.weight_key, str(weights.green))
        self._put(self.map_file, shown, "token", str(weights.token))
        self._tell_draining(f"add map {self.map_file} {weights.weight_key} {weights.green}")
        self._tell_draining(f"set map {self.map_file} token {weights.token}")
        before = maps.parse(shown)
        for key in maps.stale_keys(shown, weights.token, before.token if before else weights.token):
            runtime.ask(self.admin, f"del map {self.map_file} {key}")
        seen = maps.parse(runtime.ask(self.admin, f"show map {self.map_file}"))
        if seen is None or (seen.token, seen.green) != (weights.token, weights.green):
            raise RouterError(f"the router did not take token {weights.token}: it shows {seen}")

    def _put(self, file: Path, shown: str, key: str, value: str) -> None:
        """Set a key of a map, adding it when `shown` (the answer to `show map`) lacks it."""
        verb = "set" if re.search(rf"\s{key}\s", shown) else "add"
        runtime.order(self.admin, f"{verb} map {file} {key} {value}")

    def _fill(self, slot: Slot, component: str, routes: SlotRoutes | None, row: runtime.ServerRow) -> None:
        """Give a server its address, or put it into maintenance. One that changes starts as down: it is up only
        after a check of its own."""
        name = f"{backend(slot, component)}/{SERVER}"
        if routes is None:
            if not row.is_empty:
                runtime.order(self.admin, f"set server {name} state maint")
            return
        upstream = (routes.upstreams or {})[component]
        answer = runtime.ask(self.admin, f"show servers state {backend(slot, component)}")
        address = (upstream.host, str(upstream.port))
        if not row.is_empty and _address(answer) == address:
            return
        self._readdress(name, upstream.host, upstream.port)

    def _readdress(self, server: str, host: str, port: int) -> None:
        """Another address, and down until a check finds it up."""
        runtime.order(
            self.admin,
            f"set server {server} state maint; set server {server} addr {host} port {port}; "
            f"set server {server} state ready; set server {server} health down",
            expected=("IP changed", "port changed", "no need to change", "nothing changed"),
        )

    def _holder(self, do: str, **arguments: Any) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(HOLDER_DEADLINE_S)
                connection.connect(str(self.folder / "holder.sock"))
                connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
                line = connection.makefile("r").readline()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError) as error:
            raise RouterError(f"the router's holder does not answer: {error}") from error
        if not answer.get("ok"):
            raise RouterError(f"the router's holder refused to {do}: {answer.get('error')}")
        return answer


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


def _can_bind(host: str, port: int) -> bool:
    """Whether the address is free although somebody listens on the same port of another address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True
