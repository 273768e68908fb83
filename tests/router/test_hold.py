"""Requests that the real HAProxy keeps waiting, lets go on, or answers with a page."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.adapters.haproxy import HaproxyRouter, runtime
from backstay.domain.environment import Bind
from backstay.domain.slot import Slot
from backstay.errors import RouterError
from backstay.ports.router import Hold
from tests.router.backends import Clients, Server, get
from tests.router.test_haproxy import NONCE, Draining, blue, both_up, green, learned, port, router, routes
from tests.world.processes import wait_until

__all__ = ["blue", "green", "port", "router"]

pytestmark = pytest.mark.world


WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Asked:
    """A request in a thread of its own: its answer, once there is one. A router that stops first ends it, too."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self.answer: tuple[int, str, dict[str, str]] | None = None
        self._thread = threading.Thread(target=self._ask, args=(port, headers), daemon=True)
        self._thread.start()

    def _ask(self, port: int, headers: dict[str, str] | None) -> None:
        with contextlib.suppress(OSError):
            self.answer = get(port, headers=headers)

    @property
    def waits(self) -> bool:
        self._thread.join(0.25)
        return self._thread.is_alive()

    def wait(self) -> tuple[int, str, dict[str, str]]:
        self._thread.join(10)
        assert self.answer is not None
        return self.answer


def post(port: int, body: bytes = b"x" * 40_000) -> tuple[int, bytes]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body=body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@contextmanager
def held(router: HaproxyRouter, mode: Hold = Hold.ALL, deadline_s: float = 20.0) -> Iterator[None]:
    router.hold(mode, deadline_s, 1)
    yield
    router.release(1)


def test_two_seconds_of_hold_and_a_switch_in_it_fail_nothing(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    pid = runtime.process_id(router.admin)
    with Clients(port) as clients:
        time.sleep(0.2)
        with held(router):
            time.sleep(0.1)
            assert router.drain(Slot.BLUE, 2, 1) == 0
            before = len(blue.seen)  # what the clients have counted lags behind
            time.sleep(1.5)
            assert (len(blue.seen), len(green.seen)) == (before, 0)
            router.switch(Slot.GREEN, 1)
        end = time.monotonic() + 5
        while clients.answers["green"] < 5 and time.monotonic() < end:
            time.sleep(0.02)
        assert clients.answers["green"] > 4
    assert clients.failures == []
    assert runtime.process_id(router.admin) == pid


def test_a_hold_ends_with_one_change(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    """Keys are changed one after another; who waits must see none of them changed, or all."""
    both_up(router, port, blue, green)

    def shown() -> set[tuple[str, ...]]:
        text = runtime.ask(router.admin, f"show map {router.map_file}")
        return {tuple(line.split()[1:]) for line in text.splitlines() if line.strip()}

    with held(router):
        before = shown()
    assert shown() ^ before == {("hold_1", "2"), ("hold_1", "0")}


def test_after_the_bound_there_is_a_page_that_says_when_to_come_back(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with held(router, deadline_s=3.0):
        began = time.monotonic()
        status, body, headers = get(port)
        assert (status, headers["retry-after"]) == (503, "10")
        assert "maintained" in body
        assert 0.6 < time.monotonic() - began < 9
        began = time.monotonic()
        assert get(port)[0] == 503
        assert time.monotonic() - began < 0.6, "who comes after the bound does not wait"
    assert get(port)[0] == 200


def test_a_hold_of_writes_lets_reads_through_and_no_websocket(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with held(router, Hold.WRITES, deadline_s=0.5):
        assert get(port)[0] == 200
        assert get(port, headers=WEBSOCKET)[0] == 503
        assert post(port)[0] == 503
    assert post(port) == (200, b"blue /")


def test_a_page_is_given_at_once(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    both_up(router, port, blue, green)
    with held(router, Hold.PAGE):
        began = time.monotonic()
        assert get(port)[0] == 503
        assert time.monotonic() - began < 2, "and not when the hold ends"


def test_our_own_probe_is_not_held_and_learns_the_slot(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with held(router):
        status, _, headers = get(port, headers={"X-Backstay-Probe": NONCE})
        assert (status, headers["x-backstay-slot"]) == (200, "blue")
        assert Asked(port, {"X-Backstay-Probe": "guess"}).waits


def test_a_body_that_waited_arrives_whole(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    found: list[tuple[int, bytes]] = []
    with held(router):
        asked = threading.Thread(target=lambda: found.append(post(port)))
        asked.start()
        time.sleep(0.5)
        assert found == []
    asked.join(5)
    assert found == [(200, b"blue /")]


def test_a_hold_outlives_haproxy(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    both_up(router, port, blue, green)
    router.hold(Hold.ALL, 20.0, 1)
    pid = runtime.process_id(router.admin)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    asked = Asked(port)
    assert wait_until(lambda: router.state().running, 10)
    assert router.state().held is Hold.ALL
    assert asked.waits
    router.release(1)
    assert asked.wait()[:2] == (200, "blue /")
    assert router.state().held is None


def test_a_stale_token_neither_holds_nor_releases(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    router.hold(Hold.ALL, 20.0, 1)
    asked = Asked(port)
    router.ensure((Bind("127.0.0.1", port),), "other", 2)
    assert router.state().held is Hold.ALL, "who takes over takes the hold over"
    with pytest.raises(RouterError, match="stale"):
        router.release(1)
    runtime.ask(router.admin, f"add map {router.map_file} hold_1 0")
    runtime.ask(router.admin, f"set map {router.map_file} hold_1 0")
    assert asked.waits
    router.release(2)
    assert asked.wait()[0] == 200
    with pytest.raises(RouterError, match="stale"):
        router.hold(Hold.ALL, 20.0, 1)
    assert get(port)[0] == 200


def test_a_client_of_a_haproxy_that_drains_is_held_too(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with (
        socket.create_connection(("127.0.0.1", port)) as idle,
        Server("api") as api,
        Draining(router) as drains,
    ):
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        idle.sendall(request)
        assert b"blue /" in idle.recv(4096)
        router.load({Slot.BLUE: routes(blue, api), Slot.GREEN: routes(green)}, 1)
        with held(router):
            assert learned(router, drains)
            idle.settimeout(0.5)
            idle.sendall(request)
            with pytest.raises(TimeoutError):
                idle.recv(4096)
            idle.settimeout(5)
        assert b"blue /" in idle.recv(4096)


def test_a_configuration_of_an_earlier_backstay_is_refused_until_it_is_loaded_anew(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    text = router.config_file.read_text()
    router.config_file.write_text("".join(line for line in text.splitlines(True) if "lua-load" not in line))
    with pytest.raises(RouterError, match="cannot hold"):
        router.hold(Hold.ALL, 1, 1)
    router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(green)}, 1)
    router.hold(Hold.PAGE, 1, 1)
    assert get(port)[0] == 503


def test_the_time_that_a_request_was_held_is_not_the_slots(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with held(router):
        asked = Asked(port)
        time.sleep(1.0)
    assert asked.wait()[0] == 200
    assert wait_until(lambda: router.traffic(Slot.BLUE, 60, 0.5).requests > 0, 10)
    seen = router.traffic(Slot.BLUE, 60, 0.5)
    assert (seen.requests, seen.slow) == (1, 0)


def test_the_files_are_private_and_nothing_else_can_be_asked_of_them(
    router: HaproxyRouter, port: int
) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    assert {path.stat().st_mode & 0o77 for path in Path(router.folder).glob("*.lua")} == {0}
