"""A private Docker engine: its own containerd, folders, bridge and control group.

containerd runs apart from dockerd, so that a test may kill dockerd and start it again under containers that
run on.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.world import network, processes
from tests.world.commands import run, succeeds, tool
from tests.world.layout import Layout
from tests.world.state import Mark, State

CGROUPS = Path("/sys/fs/cgroup")


def client_env(layout: Layout) -> dict[str, str]:
    """What makes the docker client speak with this engine, with the registry's credentials."""
    return {
        "DOCKER_HOST": f"unix://{layout.engine_socket}",
        "DOCKER_CONFIG": str(layout.client_config),
        "DOCKER_BUILDKIT": "1",
    }


def answers(layout: Layout) -> bool:
    """Whether the engine answers a request."""
    ask = [tool("docker"), "version", "--format", "{{.Server.Version}}"]
    return succeeds(ask, env=client_env(layout))


def start_containerd(layout: Layout, state: State) -> Mark:
    """Start containerd; dockerd, started later, finds its socket there."""
    folder = layout.engine
    folder.mkdir(exist_ok=True)
    settings = folder / "containerd.toml"
    settings.write_text(_containerd_settings(folder), encoding="utf-8")
    argv: list[str | Path] = [tool("containerd"), "--config", settings, "--address", layout.containerd_socket]
    argv += ["--root", folder / "containerd", "--state", folder / "run-containerd"]
    return processes.start(argv, layout.log("containerd"), env={processes.MARKER_VARIABLE: state.marker})


def await_containerd(layout: Layout, mark: Mark) -> None:
    processes.await_service("containerd", mark, layout.containerd_socket.is_socket, layout.log("containerd"))


def start_dockerd(layout: Layout, state: State) -> Mark:
    """Start (or, after it was killed, start again) the engine's daemon; containers that run are kept."""
    folder = layout.engine
    settings = folder / "daemon.json"
    settings.write_text(json.dumps(_daemon_settings(layout, state), indent=2), encoding="utf-8")
    argv: list[str | Path] = [tool("dockerd"), "--config-file", settings]
    return processes.start(argv, layout.log("dockerd"), env={processes.MARKER_VARIABLE: state.marker})


def await_dockerd(layout: Layout, mark: Mark) -> None:
    processes.await_service("dockerd", mark, lambda: answers(layout), layout.log("dockerd"), seconds=60)


def remove_containers(layout: Layout) -> int:
    """Remove every container of this engine and say how many there were."""
    docker, env = tool("docker"), client_env(layout)
    ids = run([docker, "ps", "-aq"], env=env).split()
    if ids:
        run([docker, "rm", "-f", "-v", *ids], env=env, seconds=120)
    return len(ids)


def shim_sockets(state: State) -> list[Path]:
    """Sockets of our containers' shims; containerd puts them into a folder shared by the whole machine."""
    owned = set()
    for mark in processes.marked(state.marker):
        try:
            owned |= {str(entry.readlink()) for entry in Path(f"/proc/{mark.pid}/fd").iterdir()}
        except OSError:  # it ended while we looked
            continue
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    named = [Path(row[7]) for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in owned]
    return [path for path in named if path.parent == Path("/run/containerd/s")]


def remove_cgroups(state: State) -> None:
    """Remove the control groups the engine made for its containers, deepest first."""
    tops = [CGROUPS / state.marker, *(part / state.marker for part in CGROUPS.iterdir() if part.is_dir())]
    for top in filter(Path.is_dir, tops):
        inner = [path for path in top.rglob("*") if path.is_dir()]
        for group in [*sorted(inner, key=lambda path: len(path.parts), reverse=True), top]:
            group.rmdir()


def unmount_all(layout: Layout) -> int:
    """Unmount everything below the world's folder, deepest first, and say how many mounts there were."""
    mounts = mounts_below(layout.folder)
    for mount in sorted(mounts, key=len, reverse=True):
        run([tool("umount"), "-l", mount])
    return len(mounts)


def mounts_below(folder: Path) -> list[str]:
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (row.split()[4].encode().decode("unicode_escape") for row in rows)
    return [point for point in points if Path(point).is_relative_to(folder)]


def forget_runtime_files(layout: Layout) -> None:
    """Remove what a dead daemon left that would hinder the next one: its process id and sockets."""
    for path in (layout.engine / "dockerd.pid", layout.engine_socket):
        path.unlink(missing_ok=True)
    shutil.rmtree(layout.engine / "exec" / "libnetwork", ignore_errors=True)


def _containerd_settings(folder: Path) -> str:
    return "\n".join(
        (
            "version = 2",
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
            '[plugins."io.containerd.internal.v1.opt"]',
            f"path = {json.dumps(str(folder / 'opt'))}",
            "",
        )
    )


EXTRA_SETTINGS = "BACKSTAY_WORLD_ENGINE"
"""A variable with settings of dockerd, as JSON, that go before ours."""


def _daemon_settings(layout: Layout, state: State) -> dict[str, object]:
    folder, net = layout.engine, state.network
    return {
        "hosts": [f"unix://{layout.engine_socket}"],
        "group": "root",
        "containerd": str(layout.containerd_socket),
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "dockerd.pid"),
        "live-restore": True,
        "bridge": net.bridge,
        "host-gateway-ip": net.gateway,
        "default-address-pools": [{"base": network.user_networks(net), "size": 24}],
        "iptables": False,
        "ip-forward": False,
        # The same driver with and without systemd, so that the group below has one form.
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{state.marker}",
        "log-opts": {"max-size": "20m"},
        "shutdown-timeout": 5,
        **json.loads(os.environ.get(EXTRA_SETTINGS) or "{}"),
    }
