"""The real HAProxy under its holder, with small servers behind it."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

from backstay.adapters.haproxy import HaproxyRouter, maps, runtime
from backstay.adapters.haproxy.config import REFUSED
from backstay.adapters.haproxy.processes import PID_FILE, holders
from backstay.adapters.host import start_time
from backstay.domain.environment import Bind
from backstay.domain.release import Health, Route
from backstay.domain.slot import Slot
from backstay.errors import RouterError
from backstay.ports.router import SlotRoutes, Upstream
from tests.router.backends import Clients, Server, free_port, get
from tests.world.processes import wait_until

pytestmark = pytest.mark.world

HEALTH = Health("/health", {"Host": "local host"})
NONCE = "n0nce"


@pytest.fixture
def router() -> Iterator[HaproxyRouter]:
    folder = Path(tempfile.mkdtemp(prefix="bs-"))
    made = HaproxyRouter(folder / "r", "shop", "dev")
    yield made
    made.stop()
    assert wait_until(lambda: not holders(made.folder), 20)  # it removes its files last
    shutil.rmtree(folder)


@pytest.fixture
def blue() -> Iterator[Server]:
    with Server("blue") as server:
        yield server


@pytest.fixture
def green() -> Iterator[Server]:
    with Server("green") as server:
        yield server


@pytest.fixture
def port() -> int:
    return free_port()


def routes(*servers: Server, paths: tuple[str, ...] = ("/", "/api/")) -> SlotRoutes:
    """One component per server, `c0` on the first path, `c1` on the second."""
    upstreams = {f"c{n}": Upstream(f"c{n}", "127.0.0.1", s.port, HEALTH) for n, s in enumerate(servers)}
    return SlotRoutes(tuple(Route(paths[n], f"c{n}") for n in range(len(servers))), upstreams)


def both_up(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    """Blue live, green beside it."""
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    router.load({Slot.BLUE: routes(blue)}, 1)
    router.wait_up(Slot.BLUE, 5)
    router.switch(Slot.BLUE, 1)
    router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(green)}, 1)
    router.wait_up(Slot.GREEN, 5)


class Draining:
    """An admin connection to the HAProxy of now, which still leads to it when it has been reloaded and drains."""

    def __init__(self, router: HaproxyRouter) -> None:
        self._map_file = router.map_file
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(10)
        self._connection.connect(str(router.admin))
        self._ask("prompt")
        self._ask("set timeout cli 120")

    def __enter__(self) -> Draining:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def obeys(self, wanted: maps.Weights | None) -> bool:
        return maps.parse(self._ask(f"show map {self._map_file}")) == wanted

    @property
    def listens(self) -> bool:
        return "\nListeners: 0\n" not in self._ask("show info")

    def _ask(self, command: str) -> str:
        self._connection.sendall(command.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n> "):
            answer += self._connection.recv(65536)
        return answer.decode().removesuffix("> ")


def reloaded(router: HaproxyRouter, slots: dict[Slot, SlotRoutes]) -> None:
    """Load what needs another HAProxy; until the one before has stopped listening a client may meet either."""
    with Draining(router) as drains:
        router.load(slots, 1)
        assert wait_until(lambda: not drains.listens, 10)


def learned(router: HaproxyRouter, drains: Draining) -> bool:
    """Whether the HAProxy that drains has been told, which nobody waits for, what the running one obeys."""
    wanted = maps.parse(runtime.ask(router.admin, f"show map {router.map_file}"))
    return wait_until(lambda: drains.obeys(wanted), 10)


def test_before_anything_is_deployed_it_says_so(router: HaproxyRouter, port: int) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    assert get(port)[:2] == (503, "nothing is deployed here yet\n")


def test_a_loaded_slot_gets_no_traffic_until_the_switch(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    router.load({Slot.BLUE: routes(blue)}, 1)
    router.wait_up(Slot.BLUE, 5)
    assert get(port)[0] == 503
    router.switch(Slot.BLUE, 1)
    assert get(port)[:2] == (200, "blue /")


def test_thirty_switches_under_load_fail_nothing_and_never_reload(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    pid = runtime.process_id(router.admin)
    with Clients(port) as clients:
        for n in range(30):
            to = Slot.GREEN if n % 2 == 0 else Slot.BLUE
            router.switch(to, 1)
            assert get(port)[1] == f"{to} /"
            time.sleep(0.03)
    assert clients.failures == []
    assert clients.answers["blue"] > 20 and clients.answers["green"] > 20
    assert runtime.process_id(router.admin) == pid


def test_filling_a_slot_again_needs_no_reload(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    pid = runtime.process_id(router.admin)
    with Server("other") as other:
        router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(other)}, 1)
        router.wait_up(Slot.GREEN, 5)
        router.switch(Slot.GREEN, 1)
        assert get(port)[1] == "other /"
        router.switch(Slot.BLUE, 1)
    assert runtime.process_id(router.admin) == pid


def test_an_unhealthy_server_never_counts_as_up(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    green.health = 503
    both = {Slot.BLUE: routes(blue), Slot.GREEN: routes(green)}
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    router.load({Slot.BLUE: routes(blue)}, 1)
    router.load(both, 1)
    with pytest.raises(RouterError, match="does not find green up"):
        router.wait_up(Slot.GREEN, 1.0)
    green.health = 200
    router.wait_up(Slot.GREEN, 5)


def test_a_stale_token_changes_nothing(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    both_up(router, port, blue, green)
    router.ensure((Bind("127.0.0.1", port),), "other", 2)
    with pytest.raises(RouterError, match="stale"):
        router.switch(Slot.GREEN, 1)
    runtime.ask(router.admin, f"add map {router.map_file} weight_1 100")
    runtime.ask(router.admin, f"set map {router.map_file} weight_1 100")
    assert get(port)[1] == "blue /"
    with pytest.raises(RouterError, match="stale"):
        router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    router.switch(Slot.GREEN, 2)
    assert get(port)[1] == "green /"


def test_who_has_a_stale_token_moves_no_server_and_cuts_nobody(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    """As a worker that slept through its take-over and goes on: what it would take off the router may serve by now."""
    both_up(router, port, blue, green)
    router.ensure((Bind("127.0.0.1", port),), "other", 2)
    router.switch(Slot.GREEN, 2)
    before = (router.config_file.read_bytes(), router.state(), runtime.process_id(router.admin))
    stale: dict[str, Callable[[], None]] = {
        "other addresses": lambda: router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(blue)}, 1),
        "another shape": lambda: router.load({Slot.BLUE: routes(blue, green)}, 1),
        "an empty slot": lambda: router.load({Slot.BLUE: routes(blue)}, 1),
        "nowhere": lambda: router.expect(Slot.GREEN, 1),
    }
    for what, act in stale.items():
        with pytest.raises(RouterError, match="obeys token 2; token 1 is stale"):
            act()
        assert get(port)[1] == "green /", what
    green.delay_s = 1.0
    with Clients(port) as clients:
        assert wait_until(lambda: router.state().in_flight[Slot.GREEN] > 0, 10)
        with pytest.raises(RouterError, match="stale"):
            router.drain(Slot.GREEN, 0.1, 1)
    assert clients.failures == []
    assert (router.config_file.read_bytes(), router.state(), runtime.process_id(router.admin)) == before


def test_kill_9_of_haproxy_brings_the_same_slot_back_within_200_ms(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    router.switch(Slot.GREEN, 1)
    outages = []
    for _ in range(5):
        pid = runtime.process_id(router.admin)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        assert get(port)[1] == "green /"
        outages.append(time.monotonic() - began)
        time.sleep(1.1)
    print("answered again after", [f"{s * 1000:.0f} ms" for s in outages])
    assert sorted(outages)[2] < 0.2


def test_haproxy_outlives_its_holder_and_the_next_one_takes_over(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    router.switch(Slot.GREEN, 1)
    holder = router.keeper.ask("status")["pid"]
    os.kill(holder, signal.SIGKILL)
    assert wait_until(lambda: start_time(holder) is None, 10)
    with Clients(port) as clients:
        assert get(port)[1] == "green /"
        router.ensure((Bind("127.0.0.1", port),), NONCE, 2)
        time.sleep(0.3)
    assert get(port)[1] == "green /"
    assert router.keeper.ask("status")["pid"] != holder
    assert set(clients.answers) == {"green"}


@pytest.mark.parametrize("lost", [("holder.sock",), ("holder.sock", "admin.sock", "log.sock", PID_FILE)])
def test_a_holder_that_nobody_can_reach_any_more_is_replaced(
    router: HaproxyRouter, port: int, blue: Server, green: Server, lost: tuple[str, ...]
) -> None:
    """As when the disk of the state folder was replaced, or somebody cleaned up too much."""
    both_up(router, port, blue, green)
    router.switch(Slot.GREEN, 1)
    holder = router.keeper.ask("status")["pid"]
    for name in lost:
        (router.folder / name).unlink()
    with Clients(port) as clients:
        assert get(port)[1] == "green /"
        router.ensure((Bind("127.0.0.1", port),), NONCE, 2)
        time.sleep(0.3)
    assert get(port)[1] == "green /"
    assert os.waitpid(holder, 0)[1] == signal.SIGKILL
    assert router.state().weights == {Slot.BLUE: 0, Slot.GREEN: 100}
    assert set(clients.answers) == {"green"}


def test_a_changed_route_reloads_without_a_failed_request(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    with Server("api") as api, Clients(port) as clients:
        for _ in range(3):
            reloaded(router, {Slot.BLUE: routes(blue, api), Slot.GREEN: routes(green)})
            assert get(port, "/api/x")[1] == "api /api/x"
            assert get(port, "/api")[1] == "api /api"
            assert get(port, "/apix")[1] == "blue /apix"
            reloaded(router, {Slot.BLUE: routes(blue), Slot.GREEN: routes(green)})
    assert clients.failures == []


def test_a_path_without_a_route_is_404(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    router.load({Slot.BLUE: routes(blue, paths=("/only/",))}, 1)
    router.switch(Slot.BLUE, 1)
    router.wait_up(Slot.BLUE, 5)
    assert get(port, "/else")[0] == 404
    assert get(port, "/only/x")[0] == 200


def test_only_a_probe_with_the_nonce_learns_the_slot_and_the_app_never_sees_it(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    _, _, headers = get(port, headers={"X-Backstay-Probe": NONCE})
    assert (headers["x-backstay-slot"], headers["x-backstay-router"]) == ("blue", "shop/dev")
    assert "x-backstay-slot" not in get(port, headers={"X-Backstay-Probe": "guess"})[2]
    assert "x-backstay-slot" not in get(port)[2]
    assert all("x-backstay-probe" not in seen for seen in blue.seen)


def test_the_application_learns_who_asked(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    get(port, headers={"Host": "www.example"})
    seen = blue.seen[-1]
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", "www.example")
    assert seen["x-forwarded-port"] == str(port)


def test_traffic_is_counted_per_slot_without_our_probes(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    for _ in range(5):
        get(port, headers={"X-Backstay-Probe": NONCE})
    for _ in range(6):
        get(port)
    blue.fault = 500
    for _ in range(3):
        get(port)
    blue.fault, blue.delay_s = 200, 1.2
    get(port)
    assert wait_until(lambda: router.traffic(Slot.BLUE, 60, 1.0).requests >= 10, 10)
    seen = router.traffic(Slot.BLUE, 60, 1.0)
    assert (seen.requests, seen.errors, seen.slow) == (10, 3, 1)
    assert router.traffic(Slot.GREEN, 60, 0.5).requests == 0


def test_a_drain_waits_for_the_last_answer_and_cuts_at_the_deadline(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    blue.delay_s = 0.5
    with Clients(port):
        assert wait_until(lambda: router.state().in_flight[Slot.BLUE] > 0, 10)
        router.switch(Slot.GREEN, 1)
        assert router.drain(Slot.BLUE, 5, 1) == 0
    blue.delay_s = 0
    router.switch(Slot.BLUE, 1)
    with socket.create_connection(("127.0.0.1", port)) as websocket:
        websocket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " in websocket.recv(4096)
        websocket.sendall(b"hello")
        assert websocket.recv(4096) == b"blue:hello"
        router.switch(Slot.GREEN, 1)
        websocket.sendall(b"again")
        assert websocket.recv(4096) == b"blue:again"
        assert router.drain(Slot.BLUE, 0.3, 1) == 1
        assert websocket.recv(4096) == b""


def test_a_port_that_is_taken_is_refused_by_name(router: HaproxyRouter, port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(RouterError, match=r"is taken by .* \(pid \d+\)"),
    ):
        router.ensure((Bind("127.0.0.1", port),), NONCE, 1)


def test_two_environments_cannot_share_an_address(router: HaproxyRouter, port: int) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    other = HaproxyRouter(router.folder.parent / "o", "shop", "uat")
    try:
        with pytest.raises(RouterError, match=r"is taken by (haproxy|python)"):
            other.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    finally:
        other.stop()


def test_stop_leaves_no_process_and_no_listener(router: HaproxyRouter, port: int) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    pids = [router.keeper.ask("status")["pid"], runtime.process_id(router.admin)]
    assert all(pids)
    router.stop()
    # The holder has let go of its socket by now, and is about to end.
    assert wait_until(lambda: [start_time(pid) for pid in pids] == [None, None], 10)
    with pytest.raises(OSError, match="refused"):
        get(port)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(RouterError, match="too long for a socket"):
        HaproxyRouter(tmp_path / ("x" * 90), "shop", "dev").ensure((Bind("127.0.0.1", port),), NONCE, 1)


def test_a_configuration_that_haproxy_refuses_changes_nothing(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    before = router.config_file.read_text()
    bad = SlotRoutes((Route("/", "c0"),), {"c0": Upstream("c0", "no such host", green.port, HEALTH)})
    for _ in range(2):
        with pytest.raises(
            RouterError, match=r"^HAProxy refuses its new configuration: line \d+: "
        ) as caught:
            router.load({Slot.BLUE: SlotRoutes((Route("/x/", "c0"),), bad.upstreams)}, 1)
    assert "NOTICE" not in caught.value.message and "Fatal errors" not in caught.value.message
    refused = router.folder / REFUSED
    assert caught.value.hint and str(refused) in caught.value.hint
    assert "no such host" in refused.read_text() and refused.stat().st_mode & 0o077 == 0
    assert router.config_file.read_text() == before
    pid = runtime.process_id(router.admin)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert get(port)[1] == "blue /"
    with Server("api") as api:
        router.load({Slot.BLUE: routes(blue, api)}, 1)
    assert not refused.exists(), "what HAProxy refused before is no news any more"


def test_a_disk_that_takes_no_weights_is_named_and_moves_nobody(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    in_the_way = router.folder / f".router.map.{os.getpid()}"
    in_the_way.mkdir()
    with pytest.raises(RouterError, match=r"router\.map cannot be written: Is a directory") as caught:
        router.switch(Slot.GREEN, 1)
    assert caught.value.hint and str(router.folder) in caught.value.hint
    assert get(port)[1] == "blue /"
    in_the_way.rmdir()
    router.switch(Slot.GREEN, 1)
    assert get(port)[1] == "green /"


def test_a_holder_that_cannot_write_its_haproxy_down_works_on_and_makes_up_for_it(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    router.folder.mkdir(mode=0o700)
    note = router.folder / PID_FILE
    note.mkdir()  # as on a full disk: nothing can be written there
    both_up(router, port, blue, green)
    with Server("api") as api:
        router.load({Slot.BLUE: routes(blue, api)}, 1)  # another shape: a second HAProxy takes over
        router.wait_up(Slot.BLUE, 5)
        pid = runtime.process_id(router.admin)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert get(port)[1] == "blue /"
        note.rmdir()
        assert wait_until(note.is_file, 10)
        assert int(note.read_text()) == runtime.process_id(router.admin) != pid


def test_a_haproxy_that_cannot_be_started_for_a_while_comes_back(
    router: HaproxyRouter, port: int, blue: Server, green: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while its package is being replaced."""
    programs = router.folder.parent / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    both_up(router, port, blue, green)
    broken = programs / "haproxy"
    broken.write_bytes(b"half a program")
    broken.chmod(0o755)
    [holder] = holders(router.folder)
    pid = runtime.process_id(router.admin)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    log = router.folder / "holder.log"
    assert wait_until(lambda: log.read_text().count("cannot be started") >= 2, 20)
    broken.unlink()
    assert wait_until(lambda: runtime.process_id(router.admin) not in (None, pid), 20)
    assert get(port)[1] == "blue /"
    assert holders(router.folder) == [holder]


def test_a_percent_sign_in_a_health_header_is_only_a_percent_sign(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    odd = Upstream("c0", "127.0.0.1", blue.port, Health("/health", {"X-Odd": "50%[bad 'quoted'"}))
    router.load({Slot.BLUE: SlotRoutes((Route("/", "c0"),), {"c0": odd})}, 1)
    router.wait_up(Slot.BLUE, 5)


@pytest.mark.parametrize("name", ["host", "HOST", "Host"])
def test_a_host_of_ones_own_takes_the_place_of_ours_in_any_case(
    router: HaproxyRouter, port: int, blue: Server, name: str
) -> None:
    router.ensure((Bind("127.0.0.1", port),), NONCE, 1)
    own = Upstream("c0", "127.0.0.1", blue.port, Health("/health", {name: "shop.example"}))
    router.load({Slot.BLUE: SlotRoutes((Route("/", "c0"),), {"c0": own})}, 1)
    router.wait_up(Slot.BLUE, 5)
    assert router.config_file.read_text().lower().count(" hdr host ") == len(Slot)


def test_a_client_idle_since_before_a_reload_follows_the_next_switch(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    idle.request("GET", "/")
    assert idle.getresponse().read() == b"blue /"
    with Server("api") as api, Draining(router) as drains:
        router.load({Slot.BLUE: routes(blue, api), Slot.GREEN: routes(green)}, 1)
        router.wait_up(Slot.GREEN, 5)
        router.switch(Slot.GREEN, 1)
        assert learned(router, drains)
        idle.request("GET", "/")
        assert idle.getresponse().read() == b"green /"
        idle.close()


def test_it_tells_what_it_would_do_after_a_restart_where_it_looks_and_whether_it_is_kept(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    state = router.state()
    assert state.weights == state.recorded == {Slot.BLUE: 100, Slot.GREEN: 0} and state.kept
    assert state.addresses == {
        Slot.BLUE: {"c0": f"127.0.0.1:{blue.port}"},
        Slot.GREEN: {"c0": f"127.0.0.1:{green.port}"},
    }
    router.map_file.write_text(
        "token 1\nweight_1 100\n"
    )  # as one leaves it who dies between file and command
    assert router.state().recorded == {Slot.BLUE: 0, Slot.GREEN: 100}
    assert router.state().weights == {Slot.BLUE: 100, Slot.GREEN: 0}
    router.ensure((Bind("127.0.0.1", port),), NONCE, 2)
    assert router.state().recorded == {Slot.BLUE: 100, Slot.GREEN: 0}
    os.kill(router.keeper.ask("status")["pid"], signal.SIGKILL)
    assert wait_until(lambda: not router.keeper.is_there(), 10)
    assert router.state().running and not router.state().kept
    router.ensure((Bind("127.0.0.1", port),), NONCE, 3)
    assert router.state().kept and get(port)[:2] == (200, "blue /")


def test_ensure_never_switches(router: HaproxyRouter, port: int, blue: Server, green: Server) -> None:
    both_up(router, port, blue, green)
    router.map_file.write_text("token 1\nweight_1 100\n")
    router.ensure((Bind("127.0.0.1", port),), NONCE, 2)
    assert get(port)[1] == "blue /"


def test_a_slot_that_is_expected_is_found_up_at_once_and_the_other_serves_on(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    took = []
    with Server("next") as coming, Clients(port) as clients:  # who asks leaves first
        for _ in range(3):
            router.expect(Slot.GREEN, 1)
            time.sleep(1.2)  # a container boots
            with pytest.raises(RouterError, match="does not find green up"):
                router.wait_up(Slot.GREEN, 0.2)
            router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(coming)}, 1)
            began = time.monotonic()
            router.wait_up(Slot.GREEN, 5)
            took.append(time.monotonic() - began)
        assert sorted(took)[1] < 0.45, "a server that is down is looked at every 100 ms"
        router.switch(Slot.GREEN, 1)
        assert get(port)[1] == "next /"
        router.switch(Slot.BLUE, 1)
    assert clients.failures == []


def test_what_was_taken_off_the_router_is_put_back_by_load(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    both_up(router, port, blue, green)
    router.expect(Slot.GREEN, 1)
    router.load({Slot.BLUE: routes(blue), Slot.GREEN: routes(green)}, 1)
    router.wait_up(Slot.GREEN, 5)
    router.switch(Slot.GREEN, 1)
    assert get(port)[1] == "green /"


def test_addresses_that_overlap_are_both_ours_and_a_stranger_on_one_is_still_refused(
    router: HaproxyRouter, port: int, blue: Server, green: Server
) -> None:
    """As when a router that listened on one address is to listen on every one."""
    both_up(router, port, blue, green)
    one, every = Bind("127.0.0.1", port), Bind("", port)
    for binds in ((one, every), (every,), (every, one), (one,)):
        router.refuse_taken(binds)
        router.ensure(binds, NONCE, 1)
        assert get(port)[1] == "blue /"
        assert {bind.address for bind in router.state().binds or ()} == {bind.address for bind in binds}
    with (
        socket.create_server(("127.0.0.2", port)),
        pytest.raises(RouterError, match=rf"is taken by .* \(pid {os.getpid()}\)"),
    ):
        router.ensure((one, every), NONCE, 1)
    assert get(port)[1] == "blue /"
    assert {bind.address for bind in router.state().binds or ()} == {one.address}
