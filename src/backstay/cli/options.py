"""Options every command takes, wherever on the line they stand."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click


class Filled(click.ParamType[str]):
    """Text that says something."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not str(value).strip():
            self.fail("must not be empty", param, ctx)
        return str(value)


class Seconds(click.FloatRange):
    """A number of seconds in a range, which "not a number" is in none of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


@dataclass
class Settings:
    """What the common options said; an option given to the group or to the command counts alike."""

    config: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True


_OPTIONS = (
    click.option(
        "--config",
        metavar="FILE",
        type=Filled(),
        help="Configuration (default: backstay.yml, searched upwards).",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON only on standard output."),
    click.option("--quiet", is_flag=True, help="Print only the end and errors."),
    click.option("--verbose", is_flag=True, help="Print details."),
    click.option("--no-color", is_flag=True, help="Print without colour."),
)

unused_option = click.option(
    "--unused",
    multiple=True,
    metavar="TABLE[.COLUMN]",
    type=Filled(),
    help="The live release does not use it, so the migration may take it; repeatable.",
)


def with_common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the common options to a command; it gets them as its first argument, a Settings."""

    @functools.wraps(function)
    def wrapped(
        *, config: str | None, as_json: bool, quiet: bool, verbose: bool, no_color: bool, **rest: Any
    ) -> Any:
        ctx = click.get_current_context()
        settings = ctx.find_root().ensure_object(Settings)
        settings.config = settings.config if config is None else config
        settings.json |= as_json
        settings.quiet |= quiet
        settings.verbose |= verbose
        settings.color &= not no_color
        from backstay.cli.failure import reporting

        with reporting(settings):
            return function(settings, **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
