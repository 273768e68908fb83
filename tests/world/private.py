"""An engine and a PostgreSQL of a test's own, to be killed, frozen, filled up and cut off.

Images come from the registry of the world that everybody shares, which stays as it is.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.world import engine, lifecycle, network, postgres, processes, registry
from tests.world.errors import WorldError
from tests.world.layout import Layout
from tests.world.state import Mark, NetworkPlan, State
from tests.world.world import World


@contextmanager
def private_world(shared: World, *, image_disk: str | None = None, database: bool = False) -> Iterator[World]:
    """A world with an engine of its own; nothing of it is left afterwards.

    `image_disk` is the size of a small disk for everything the engine keeps, such as `400m`; without `database` the
    PostgreSQL is the shared one.
    """
    layout = Layout(Path(tempfile.mkdtemp(prefix="bsp-")))
    net = _network()
    state = State(
        world_id=secrets.token_hex(4),
        boot_id=processes.boot_id(),
        folder=str(layout.folder),
        engine_socket=str(layout.engine_socket),
        base_image=shared.base_image,
        network=net,
        registry=shared.registry,
        postgres=postgres.plan(lifecycle.free_ports(1)[0], net.gateway) if database else shared.postgres,
    )
    try:
        os.chown(layout.folder, 0, postgres.group_id())
        layout.folder.chmod(0o710)
        layout.logs.mkdir(mode=0o700)
        registry.write_client_config(layout, shared.registry)
        if image_disk:
            _small_disk(layout.engine / "data", image_disk)
        state.processes["containerd"] = engine.start_containerd(layout, state)
        if database:
            state.processes["postgres"] = postgres.start(layout, state)
        engine.await_containerd(layout, state.processes["containerd"])
        start_dockerd(layout, state)
        if database:
            postgres.await_ready(layout, state, state.processes["postgres"])
        yield World(layout, state)
    finally:
        for mark in state.processes.values():
            processes.send(mark, signal.SIGCONT)  # what a test left frozen could not end
        lifecycle.remove(layout, state, lambda _: None)


def start_dockerd(layout: Layout, state: State) -> Mark:
    """Start the daemon, also again after its death, and wait until it answers."""
    engine.forget_runtime_files(layout)
    mark = engine.start_dockerd(layout, state)
    state.processes["dockerd"] = mark
    engine.await_dockerd(layout, mark)
    return mark


def _network() -> NetworkPlan:
    """Somebody else may take the bridge between our look and our doing."""
    for _ in range(5):
        chosen = network.plan()
        try:
            network.make(chosen)
        except WorldError:
            continue
        return chosen
    raise WorldError("no bridge could be made")


def _small_disk(folder: Path, size: str) -> None:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
