"""``python -m tests.world up|down|status|images|env|run``."""

from __future__ import annotations

import argparse
import shlex
import sys

from tests.world import images, lifecycle, session
from tests.world.errors import WorldError
from tests.world.layout import Layout
from tests.world.state import State
from tests.world.world import World


def main() -> int:
    """Exit status 0: done, or up. 1: failed, or not (wholly) up."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description="The real test world.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("up", "start it, unless it runs"),
        ("down", "remove it and verify that nothing is left"),
        ("status", "ask every part"),
        ("images", "build and push all versions of the example shop"),
        ("env", "print what a shell needs to use it (eval it)"),
    ):
        commands.add_parser(name, help=what)
    runner = commands.add_parser(
        "run", help="run a command with the world up, then leave things as they were"
    )
    runner.add_argument("argv", nargs="+", metavar="COMMAND")
    given = parser.parse_args()
    actions = {"up": _up, "down": _down, "status": _status, "images": _images, "env": _env}
    try:
        return session.run(given.argv, _say) if given.command == "run" else actions[given.command]()
    except WorldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _up() -> int:
    World.up(_say)
    return 0


def _down() -> int:
    if not World.down(_say):
        _say("there is no world")
    return 0


def _status() -> int:
    layout = Layout.chosen()
    state = State.load(layout.state_file)
    if state is None:
        print(f"down: no world in {layout.folder}")
        return 1
    found = lifecycle.problems(layout, state)
    print("broken: " + "; ".join(found) if found else "up")
    print(f"  folder    {state.folder}")
    print(f"  engine    unix://{state.engine_socket}")
    print(f"  registry  {state.registry.address} (user {state.registry.user})")
    database, net = state.postgres, state.network
    print(f"  postgres  {database.host}:{database.port} (containers: {database.container_host})")
    print(f"  network   {net.bridge}, the host is {net.gateway}, pool {net.pool}")
    print(f"  base      {state.base_image}")
    for name, mark in state.processes.items():
        print(f"  process   {name} {mark.pid}")
    return 1 if found else 0


def _images() -> int:
    images.shop(World.current(), _say)
    return 0


def _env() -> int:
    world = World.current()
    names = {"DOCKER_HOST": world.docker_host, "DOCKER_CONFIG": str(world.layout.client_config)}
    names |= {
        "DOCKER_BUILDKIT": "1",
        "BACKSTAY_WORLD": str(world.layout.folder),
        "REGISTRY": world.registry.address,
    }
    for key, value in names.items():
        print(f"export {key}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
