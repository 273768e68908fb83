"""Brings the world up, asks whether it is really there, and removes it without a trace."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.world import base_image, engine, network, postgres, processes, registry
from tests.world.errors import WorldError
from tests.world.layout import Layout
from tests.world.state import Mark, State

Say = Callable[[str], None]


def up(layout: Layout, say: Say) -> State:
    """The running world: the one that is there if every part answers, else a new one.

    A world that is there but not whole (a crash, a reboot) is removed first. When the start fails, what was
    begun is removed again and the reason raised as WorldError.
    """
    if os.getuid() != 0:
        raise WorldError("the test world needs root: it makes a network bridge and runs a container engine")
    with _locked(layout):
        state = State.load(layout.state_file)
        if state is not None and state.ready and not problems(layout, state):
            say("the world is already up")
            return state
        if state is None:
            return _build(layout, say)
        say("an unfinished or broken world is there; it is removed first")
        remove(layout, state, say)
    return up(layout, say)


def down(layout: Layout, say: Say) -> bool:
    """Remove the world and verify that nothing of it is left; False when there was none."""
    if not layout.folder.exists():
        return False
    with _locked(layout):
        state = State.load(layout.state_file)
        if state is None:
            if any(layout.folder.iterdir()):
                raise WorldError(
                    f"{layout.folder} holds no world, but is not empty; look at it, then remove it"
                )
            layout.folder.rmdir()
            return False
        remove(layout, state, say)
        return True


def problems(layout: Layout, state: State) -> list[str]:
    """What of the world does not answer; empty when all is well. Asks the services, not the record."""
    if state.boot_id != processes.boot_id():
        return ["the machine was restarted since"]
    found = [] if state.ready else ["its start was never finished"]
    dead = [name for name, mark in state.processes.items() if not processes.alive(mark)]
    found += [f"{name} has ended" for name in dead]
    questions: dict[str, Callable[[], bool]] = {
        "dockerd": lambda: engine.answers(layout),
        "registry": lambda: registry.answers(state.registry),
        "postgres": lambda: postgres.answers(state.postgres),
    }
    for name, answers in questions.items():
        if name not in dead and not answers():
            found.append(f"{name} does not answer")
    return found


def _build(layout: Layout, say: Say) -> State:
    net = network.plan()
    registry_port, postgres_port = free_ports(2)
    state = State(
        world_id=secrets.token_hex(4),
        boot_id=processes.boot_id(),
        folder=str(layout.folder),
        engine_socket=str(layout.engine_socket),
        base_image=base_image.image_name(),
        network=net,
        registry=registry.plan(registry_port),
        postgres=postgres.plan(postgres_port, net.gateway),
    )
    # Ours alone; the database server's user may pass through, but not look.
    os.chown(layout.folder, 0, postgres.group_id())
    layout.folder.chmod(0o710)
    state.save(layout.state_file)
    try:
        for folder in (layout.logs, layout.scratch):
            folder.mkdir(mode=0o700)
        _start_all(layout, state, say)
    except BaseException:
        say("the start failed; what was begun is removed")
        remove(layout, state, say)
        raise
    return state


def _start_all(layout: Layout, state: State, say: Say) -> None:
    begun = time.monotonic()
    with _step("network bridge", say):
        network.make(state.network)
    with _step("services started", say):
        for name in ("containerd", "registry", "postgres"):
            state.processes[name] = _start(name, layout, state)
            state.save(layout.state_file)
    with _step("containerd answers", say):
        engine.await_containerd(layout, state.processes["containerd"])
    with _step("dockerd answers", say):
        state.processes["dockerd"] = engine.start_dockerd(layout, state)
        state.save(layout.state_file)
        engine.await_dockerd(layout, state.processes["dockerd"])
    with _step("registry answers", say):
        registry.await_ready(layout, state.registry, state.processes["registry"])
    with _step("postgres answers", say):
        postgres.await_ready(layout, state, state.processes["postgres"])
    with _step("base image", say) as note:
        note.append(base_image.provide(state.base_image, engine.client_env(layout), layout.scratch))
    state.ready = True
    state.save(layout.state_file)
    say(f"the world is up after {time.monotonic() - begun:.1f} s")


def _start(name: str, layout: Layout, state: State) -> Mark:
    if name == "containerd":
        return engine.start_containerd(layout, state)
    if name == "registry":
        return registry.start(layout, state.registry, state.marker)
    return postgres.start(layout, state)


def remove(layout: Layout, state: State, say: Say) -> None:
    begun = time.monotonic()
    sockets: list[Path] = []
    if state.boot_id == processes.boot_id():
        sockets = engine.shim_sockets(state)
        _end_processes(layout, state, say)
        for path in sockets:
            path.unlink(missing_ok=True)
    with _step("mounts, links and control groups removed", say):
        engine.unmount_all(layout)
        network.remove(state.network)
        engine.remove_cgroups(state)
    left = _leftovers(layout, state)
    if left:
        raise WorldError("the world cannot be removed completely: " + "; ".join(left))
    with _step("files removed", say):
        shutil.rmtree(layout.folder)
    say(f"nothing of the world is left, after {time.monotonic() - begun:.1f} s")


def _end_processes(layout: Layout, state: State, say: Say) -> None:
    marks = state.processes
    if "dockerd" in marks and processes.alive(marks["dockerd"]):
        with _step("containers removed", say) as note:
            try:
                note.append(str(engine.remove_containers(layout)))
            except WorldError as stuck:
                note.append(f"by force, for the engine does not do it: {stuck}")
    with _step("processes ended", say):
        for name in ("dockerd", "containerd", "registry"):
            if name in marks:
                processes.end({marks[name]}, grace=20)
        if "postgres" in marks:
            processes.end({marks["postgres"]}, first=postgres.STOP, grace=20)
        processes.end(postgres.remaining(layout), grace=5)
        processes.end(processes.marked(state.marker), grace=1)


def _leftovers(layout: Layout, state: State) -> list[str]:
    left = [f"mount {point}" for point in engine.mounts_below(layout.folder)]
    left += [f"link {name}" for name in network.leftovers(state.network)]
    if state.boot_id == processes.boot_id():
        left += [f"process {mark.pid}" for mark in processes.marked(state.marker)]
        left += [f"process {mark.pid}" for mark in postgres.remaining(layout)]
        left += [f"process {mark.pid}" for mark in state.processes.values() if processes.alive(mark)]
    return left


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def _step(title: str, say: Say) -> Iterator[list[str]]:
    begun, note = time.monotonic(), list[str]()
    yield note
    detail = f" ({', '.join(note)})" if note else ""
    say(f"{time.monotonic() - begun:6.1f} s  {title}{detail}")


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One process at a time makes or removes the world; the lock is the folder itself."""
    while True:
        layout.folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(layout.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.fstat(handle).st_uid != os.getuid():
                raise WorldError(f"{layout.folder} belongs to another user")
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The one who held the lock may have removed the folder meanwhile.
            if layout.folder.exists() and os.path.samestat(os.fstat(handle), layout.folder.stat()):
                yield
                return
        finally:
            os.close(handle)
