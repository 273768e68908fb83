"""What checks ask of every engine."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.engine.bench import Bench

pytestmark = pytest.mark.world


def test_info_tells_the_engines_time_and_where_it_keeps_things(bench: Bench) -> None:
    before = time.time()
    info = bench.engine.info()
    assert info.time is not None
    assert before - 1 <= info.time <= time.time() + 1
    assert Path(info.root).is_absolute()


def test_free_ports_are_counted_up_to_what_is_wanted(bench: Bench) -> None:
    assert bench.engine.free_ports((23600, 23699), 3) == 3
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert bench.engine.free_ports((port, port), 3) == 0


def test_the_port_of_a_stopped_container_is_not_free(bench: Bench) -> None:
    made = bench.engine.run(bench.server("web", port_range=(23700, 23799)))
    assert made.port is not None
    bench.engine.stop(made.id, 0)
    assert bench.engine.free_ports((made.port, made.port), 1) == 0
