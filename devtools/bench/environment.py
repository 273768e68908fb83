"""The example shop as it is measured: with the environment of a user, not of a test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.shop import Answer, Shop
from tests.world import World


class BenchError(Exception):
    """A measurement could not be made; no figure may come of it."""


class BenchShop(Shop):
    """A shop with patient limits, because a loaded machine is measured here and not judged by its smoke tests."""

    def __enter__(self) -> BenchShop:
        super().__enter__()
        return self

    @property
    def env(self) -> dict[str, str]:
        """As `as_installed`."""
        return as_installed(super().env)

    def must(self, *words: str) -> Answer:
        """Run `backstay …`; BenchError with what it said when it does not end with 0."""
        answer = self.run(*words)
        if answer.status != 0:
            said = "\n".join((answer.out + answer.err).strip().splitlines()[-15:])
            raise BenchError(f"backstay {' '.join(words)} ended with {answer.status}:\n{said}")
        return answer

    def must_deploy(self, version: str, *words: str) -> Answer:
        return self.must("deploy", "dev", "--version", version, "--json", *words)


def patient(world: World, name: str, bake: str = "1s") -> BenchShop:
    """A shop of the name, with a bake of the given length; use it as a context manager."""
    return BenchShop(world, name, bake=bake, deadline="60s", under="")


def as_installed(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what only a developer's Python has: warnings as errors, no compiled files kept.

    Both cost every start of the command, and an installed command has neither.
    """
    return {key: value for key, value in env.items() if not key.startswith("PYTHON") or key == "PYTHONPATH"}


def steps_of(document: dict[str, Any]) -> dict[str, float]:
    """Seconds by step of a deployment's document."""
    return {step["name"]: float(step["took_s"] or 0.0) for step in document["steps"]}


def console_script(name: str) -> list[str]:
    """How the installed command is started: the script beside our Python, else its module."""
    script = Path(sys.executable).with_name(name)
    return [str(script)] if script.exists() else [sys.executable, "-m", name]
