"""`backstay smoke`."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from backstay import wiring
from backstay.cli.context import project
from backstay.cli.options import Seconds, Settings, with_common_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backstay.domain.environment import Environment
    from backstay.domain.smoke import CheckResult
    from backstay.pipeline.address import Known
    from backstay.pipeline.smoke import Ask, Question

EACH_S = 10.0
"""What one try may take when no --deadline is given."""


@click.command(
    epilog="\b\nExamples:\n  backstay smoke prod\n  backstay smoke https://shop.example\n"
    "  backstay smoke https://shop.example --retries 10 --delay 5\n"
)
@click.argument("target", metavar="ENV|URL")
@click.option(
    "--retries", metavar="N", type=click.IntRange(1, 1000), default=2, help="Tries in all (default: 2)."
)
@click.option(
    "--delay", metavar="S", type=Seconds(0, 3600), default=0.5,
    help="Seconds between two tries; only what failed is tried again (default: 0.5).",
)  # fmt: skip
@click.option(
    "--deadline", metavar="S", type=Seconds(0.1, 86400), default=None,
    help="Seconds for everything (default: 10 for each try, and the delays).",
)  # fmt: skip
@click.option("--health", metavar="PATH", help="For a URL: the health path, in place of usual ones.")
@click.option("--api", metavar="PATH", help="For a URL: a path of the API that answers JSON.")
@click.option(
    "--origin", "origins", metavar="URL", multiple=True, help="For a URL: an origin that CORS must allow."
)
@with_common_options
def command(
    settings: Settings,
    target: str,
    retries: int,
    delay: float,
    deadline: float | None,
    health: str | None,
    api: str | None,
    origins: tuple[str, ...],
) -> int:
    """Ask the application what only a good one answers: a page, health, API, times, database, TLS, CORS and
    containers, and the tests of the configuration.

    A URL needs no configuration; what cannot be told from outside is shown as such, not as passed.
    """
    from backstay.domain.smoke import failures
    from backstay.pipeline.address import AT_ONCE, Known
    from backstay.pipeline.smoke import Patience, smoke

    known = Known(health, api, origins)
    questions, ask, shown, clean = _of(settings, target, known)
    patience = Patience(deadline or retries * EACH_S + (retries - 1) * delay, retries, delay)
    if "://" in target:
        patience = replace(patience, at_once=AT_ONCE)
    began = time.monotonic()

    def told(number: int, results: list[CheckResult]) -> None:
        if number < retries and (bad := failures(results)) and not settings.quiet:
            names = ", ".join(r.id for r in bad)
            click.echo(f"try {number} of {retries}: {names} failed; again in {delay:g} s", err=True)

    results = [clean(r) for r in smoke(questions, ask, patience, wiring.clock(), time.sleep, told)]
    _report(settings, shown, results, time.monotonic() - began)
    return 10 if failures(results) else 0


def _of(
    settings: Settings, target: str, known: Known
) -> tuple[Sequence[Question], Ask, str, Callable[[CheckResult], CheckResult]]:
    """What to ask whom, how the target is shown, and what takes secret values out of a result."""
    from backstay.errors import UsageError

    if "://" in target:
        from backstay.pipeline.address import ask_address, of_address, parse_address

        address, prober = parse_address(target), wiring.prober()
        for path in (known.health, known.api):
            if path is not None and not path.startswith("/"):
                raise UsageError(f"{path!r} is no path", hint="a path begins with /")
        return (
            of_address(address, known, prober, time.time),
            ask_address(prober, address),
            target,
            lambda result: result,
        )
    if known.health or known.api or known.origins:
        raise UsageError(
            "--health, --api and --origin are for a URL", hint="an environment has them in backstay.yml"
        )
    if any(sign in target for sign in ":/."):
        raise UsageError(
            f"{target!r} is no environment, and a URL begins with http:// or https://",
            hint=f"backstay smoke http://{target}",
        )
    from backstay.pipeline.served import of_environment

    found = project(settings, target)
    environment = found.application(target).environment
    questions, ask = of_environment(wiring.look(found.where, found.app, target), environment)
    return questions, ask, f"{found.app} {target}", _cleaner(environment)


def _cleaner(environment: Environment) -> Callable[[CheckResult], CheckResult]:
    """An application may show the values of its secrets in what it answers."""
    from backstay.domain.secret import redact
    from backstay.errors import BackstayError

    try:
        values = list(wiring.secrets(environment).read().values())
    except BackstayError:
        values = []  # values that nobody here can read are not ours to know
    return lambda result: replace(result, detail=redact(result.detail, values))


def _report(settings: Settings, shown: str, results: list[CheckResult], took_s: float) -> None:
    from backstay.domain.smoke import failures

    bad = failures(results)
    if settings.json:
        checks: list[dict[str, Any]] = [
            {
                "id": r.id, "ok": r.ok, "severity": r.severity, "detail": r.detail, "hint": r.hint,
                "took_s": round(r.took_s, 3),
            }
            for r in results
        ]  # fmt: skip
        click.echo(json.dumps({"ok": not bad, "target": shown, "took_s": round(took_s, 3), "checks": checks}))
        return
    wide = max((len(r.id) for r in results), default=0)
    for result in results if not settings.quiet else bad:
        _show(settings, result, wide)
    passed = sum(r.ok for r in results)
    told = f"{shown}: {passed} passed, {len(bad)} failed, {len(results) - passed - len(bad)} not judged"
    click.echo(f"{told}, in {took_s:.1f} s")


def _show(settings: Settings, result: CheckResult, wide: int) -> None:
    mark, colour = ("✓", "green") if result.ok else ("✗", "red")
    if not result.ok and result.severity != "error":
        mark, colour = ("!", "yellow") if result.severity == "warning" else ("–", "bright_black")
    coloured = settings.color and "NO_COLOR" not in os.environ
    click.echo(f"{click.style(mark, fg=colour) if coloured else mark} {result.id:<{wide}}  {result.detail}")
    if result.hint and not result.ok:
        click.echo(f"  {'':<{wide}}  next: {result.hint}")
