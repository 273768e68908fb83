"""What every engine must do, whatever runs the containers."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from backstay.domain.secret import Secret
from backstay.errors import EngineError
from backstay.ports.engine import Container
from tests.engine.bench import Bench, until


def answer(port: int | None) -> str:
    """What the server on the loopback port says; empty while it does not answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{port}/", timeout=2) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def answers(container: Container, word: str) -> Callable[[], bool]:
    return lambda: answer(container.port) == word


def seen(bench: Bench, container: Container) -> Container:
    """The container as the engine sees it now."""
    found = bench.engine.inspect(container.id)
    assert found is not None
    return found


def test_info_names_version_and_platform(bench: Bench) -> None:
    info = bench.engine.info()
    assert info.version
    assert info.api_version
    assert info.platform.startswith("linux/")


def test_server_answers_on_a_port_of_the_range(bench: Bench) -> None:
    container = bench.engine.run(bench.server("web", port_range=(23000, 23400)))
    assert container.running
    assert container.exit_code is None
    assert container.port is not None
    assert 23000 <= container.port <= 23400
    until(answers(container, "hello"), "an answer")


def test_port_stays_over_stop_and_start(bench: Bench) -> None:
    spec = bench.server("web")
    container = bench.engine.run(spec)
    bench.engine.stop(container.id, 0)
    assert seen(bench, container).port == container.port
    again = bench.engine.run(spec)
    assert (again.id, again.port) == (container.id, container.port)
    until(answers(again, "hello"), "an answer after the second start")


def test_taken_port_is_passed_over(bench: Bench) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        spec = bench.server("web", port_range=(port, port + 1))
        try:
            assert bench.engine.run(spec).port == port + 1
        except EngineError as error:  # something else holds the second port
            assert f"between {port} and {port + 1}" in error.message


def test_no_free_port_names_the_range_and_leaves_nothing(bench: Bench) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"between {port} and {port}"):
            bench.engine.run(bench.server("web", port_range=(port, port)))
    assert bench.engine.find(bench.labels) == []


def test_port_of_a_stopped_container_is_not_given_away(bench: Bench) -> None:
    first = bench.engine.run(bench.server("first"))
    assert first.port is not None
    bench.engine.stop(first.id, 0)
    with pytest.raises(EngineError, match="no free loopback port"):
        bench.engine.run(bench.server("second", port_range=(first.port, first.port)))


def test_many_at_once_get_different_ports(bench: Bench) -> None:
    specs = [bench.server(f"web{number}", port_range=(23500, 23507)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        ports = [container.port for container in pool.map(bench.engine.run, specs)]
    assert len(set(ports)) == 4


def test_environment_and_secrets_reach_the_process_only(bench: Bench) -> None:
    spec = bench.spec(
        "env",
        "import os; print(os.environ['PLAIN'], os.environ['HIDDEN'] == 'p\u00e4ss word$')",
        env={"PLAIN": "a b=c"},
        secrets={"HIDDEN": Secret("päss word$")},
        restarts=False,
    )
    container = bench.engine.run(spec)
    assert bench.engine.wait(container.id, 20) == 0
    assert bench.engine.logs(container.id, 5) == ["a b=c True"]
    assert "päss" not in repr(container)


@pytest.mark.parametrize("code", [0, 3, 77])
def test_wait_gives_the_exit_code(bench: Bench, code: int) -> None:
    container = bench.engine.run(bench.spec("job", f"raise SystemExit({code})", restarts=False))
    assert bench.engine.wait(container.id, 20) == code
    assert not seen(bench, container).running
    assert seen(bench, container).exit_code == code


def test_wait_ends_at_its_deadline(bench: Bench) -> None:
    container = bench.engine.run(bench.spec("job", "import time; time.sleep(60)", restarts=False))
    began = time.monotonic()
    assert bench.engine.wait(container.id, 0.5) is None
    assert time.monotonic() - began < 3


def test_wait_for_nothing_is_an_error(bench: Bench) -> None:
    with pytest.raises(EngineError, match="gone"):
        bench.engine.wait(f"{bench.prefix}-none", 1)


def test_logs_hold_the_last_lines_of_both_streams(bench: Bench) -> None:
    script = "import sys\nfor n in range(9): print('out', n, file=sys.stderr if n % 2 else sys.stdout)"
    container = bench.engine.run(bench.spec("job", script, restarts=False))
    bench.engine.wait(container.id, 20)
    lines = bench.engine.logs(container.id, 99)
    # Each stream keeps its order; between the two there is none, as they are two pipes.
    assert [line for line in lines if int(line[-1]) % 2] == ["out 1", "out 3", "out 5", "out 7"]
    assert [line for line in lines if not int(line[-1]) % 2] == [f"out {n}" for n in (0, 2, 4, 6, 8)]
    assert bench.engine.logs(container.id, 4) == lines[-4:]
    assert len(bench.engine.logs(container.id, 3)) == 3
    assert bench.engine.logs(container.id, 0) == []


def test_logs_of_a_silent_process_are_empty_and_odd_bytes_do_no_harm(bench: Bench) -> None:
    silent = bench.engine.run(bench.spec("silent", "pass", restarts=False))
    script = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe odd\\r\\nlast')"
    odd = bench.engine.run(bench.spec("odd", script, restarts=False))
    for container in (silent, odd):
        bench.engine.wait(container.id, 20)
    assert bench.engine.logs(silent.id, 5) == []
    assert bench.engine.logs(odd.id, 5) == ["\ufffd\ufffd odd", "last"]


def test_same_name_and_labels_is_adopted(bench: Bench) -> None:
    spec = bench.server("web")
    first = bench.engine.run(spec)
    second = bench.engine.run(spec)
    assert (second.id, second.port, second.started_at) == (first.id, first.port, first.started_at)


@pytest.mark.parametrize("change", [{"backstay.deployment": "other"}, {"backstay.extra": "1"}])
def test_same_name_with_other_labels_is_left_alone(bench: Bench, change: dict[str, str]) -> None:
    spec = bench.server("web")
    first = bench.engine.run(spec)
    with pytest.raises(EngineError, match="not made for this deployment") as caught:
        bench.engine.run(replace(spec, labels={**spec.labels, **change}))
    assert caught.value.hint is not None
    assert seen(bench, first).running


def test_ended_one_off_is_not_started_again(bench: Bench) -> None:
    spec = bench.spec("migrate", "print('ran'); raise SystemExit(4)", restarts=False)
    first = bench.engine.run(spec)
    assert bench.engine.wait(first.id, 20) == 4
    again = bench.engine.run(spec)
    assert (again.id, again.started_at, again.exit_code) == (first.id, seen(bench, first).started_at, 4)
    assert bench.engine.logs(again.id, 9) == ["ran"]


def test_find_needs_all_labels(bench: Bench) -> None:
    one = bench.engine.run(bench.spec("one", "pass", restarts=False))
    two = bench.engine.run(
        bench.spec("two", "pass", restarts=False, labels={**bench.labels, "backstay.slot": "blue"})
    )
    found = bench.engine.find(bench.labels)
    assert {container.id for container in found} == {one.id, two.id}
    assert [c.id for c in bench.engine.find({**bench.labels, "backstay.slot": "blue"})] == [two.id]
    assert bench.engine.find({**bench.labels, "backstay.slot": "green"}) == []
    with pytest.raises(ValueError, match="without labels"):
        bench.engine.find({})


def test_stop_and_remove_can_be_repeated(bench: Bench) -> None:
    container = bench.engine.run(bench.server("web"))
    bench.engine.stop(container.id, 1)
    bench.engine.stop(container.id, 1)
    assert not seen(bench, container).running
    bench.engine.remove(container.id)
    bench.engine.remove(container.id)
    bench.engine.stop(container.id, 1)
    assert bench.engine.inspect(container.id) is None
    assert bench.engine.inspect(container.name) is None


def test_remove_takes_a_running_one(bench: Bench) -> None:
    container = bench.engine.run(bench.server("web"))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(bench.engine.remove, [container.id] * 3))
    assert bench.engine.inspect(container.id) is None


def test_stop_gives_grace_and_then_kills(bench: Bench) -> None:
    polite = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(9))\nprint('up')\ntime.sleep(60)"
    )
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)"
    asked = bench.engine.run(bench.spec("polite", polite))
    killed = bench.engine.run(bench.spec("deaf", deaf))
    for container in (asked, killed):
        until(lambda found=container: bench.engine.logs(found.id, 1) == ["up"], "its start")  # type: ignore[misc]
    bench.engine.stop(asked.id, 20)
    began = time.monotonic()
    bench.engine.stop(killed.id, 1)
    assert 0.9 < time.monotonic() - began < 10
    assert seen(bench, asked).exit_code == 9
    assert seen(bench, killed).exit_code == 137


def test_inspect_knows_no_beginnings_of_names(bench: Bench) -> None:
    container = bench.engine.run(bench.server("web"))
    assert bench.engine.inspect(container.id[:3]) is None
    assert seen(bench, container).name == f"{bench.prefix}-web"
    by_name = bench.engine.inspect(container.name)
    assert by_name is not None
    assert by_name.id == container.id


def test_missing_network_is_an_error_unless_it_may_be_created(bench: Bench) -> None:
    with pytest.raises(EngineError, match="no network"):
        bench.engine.network(f"{bench.prefix}-x", create=False, labels=bench.labels)
    made = bench.engine.network(f"{bench.prefix}-x", create=True, labels=bench.labels)
    assert made == bench.engine.network(f"{bench.prefix}-x", create=True, labels={"backstay.app": "other"})
    bench.engine.remove_network(f"{bench.prefix}-x", {**bench.labels, "backstay.app": "other"})
    assert bench.engine.network(f"{bench.prefix}-x", create=False, labels={}) == made
    bench.engine.remove_network(f"{bench.prefix}-x", bench.labels)
    bench.engine.remove_network(f"{bench.prefix}-x", bench.labels)
    with pytest.raises(EngineError, match="no network"):
        bench.engine.network(f"{bench.prefix}-x", create=False, labels=bench.labels)


def test_networks_are_found_by_their_labels(bench: Bench) -> None:
    name, labels = f"{bench.prefix}-y", {**bench.labels, "backstay.role": "rehearsal"}
    bench.engine.network(name, create=True, labels=labels)
    assert bench.engine.networks(labels) == [name]
    bench.engine.remove_network(name, labels)
    assert bench.engine.networks(labels) == []
    with pytest.raises(ValueError, match="without labels"):
        bench.engine.networks({})
