"""`backstay duty`."""

from __future__ import annotations

import json
from datetime import datetime

import click

from backstay import wiring
from backstay.cli.context import project
from backstay.cli.options import Settings, with_common_options
from backstay.domain.schedule import ABOUT, PERIODS, Duty, Outcome

BY_HAND = (Duty.LOG_REVIEW.value, Duty.UPDATE_REVIEW.value)


@click.group(
    name="duty", epilog="\b\nExamples:\n  backstay duty list prod\n  backstay duty done prod log-review\n"
)
def command() -> None:
    """List what has to be done from time to time, what was done, and tick off what only people can do."""


@command.command(
    name="list", epilog="\b\nExamples:\n  backstay duty list prod\n  backstay duty list prod --json\n"
)
@click.argument("environment", metavar="ENV")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs.")
@with_common_options
def list_(settings: Settings, environment: str, limit: int) -> int:
    """Show when each regular duty of ENV was last done and is due next, and the last runs of all duties; writes
    nothing. Exit status 10 when one is overdue."""
    from backstay.pipeline.document import duty_run_document
    from backstay.pipeline.objective import duties

    found = project(settings, environment)
    reader = found.reader()
    rows = duties(reader, found.app, environment, wiring.clock().now())
    runs = reader.duty_runs(found.app, environment, limit=limit)
    late = any(row["state"] == "overdue" for row in rows)
    if settings.json:
        click.echo(
            json.dumps({"ok": not late, "duties": rows, "runs": [duty_run_document(run) for run in runs]})
        )
        return 10 if late else 0
    for row in rows:
        done = f"last done {row['last_done'][:10]}" if row["last_done"] else "never done"
        every = f"every {PERIODS[Duty(row['duty'])].days} days"
        what = ABOUT[Duty(row["duty"])]
        click.echo(f"{row['duty']:<15} {row['state']:<8} due {row['due_at'][:10]}  {done}, {every}: {what}")
    for run in runs:
        detail = f"  {run.detail}" if run.detail else ""
        click.echo(
            f"{run.began_at[:19]}Z  {run.duty:<15} {run.outcome:<8} {_took(run.began_at, run.ended_at)}{detail}"
        )
    return 10 if late else 0


@command.command(epilog='\b\nExample:\n  backstay duty done prod log-review --note "nothing odd"\n')
@click.argument("environment", metavar="ENV")
@click.argument("duty", metavar="DUTY", type=click.Choice(BY_HAND))
@click.option("--note", default="", help="What was seen or done, for the record.")
@with_common_options
def done(settings: Settings, environment: str, duty: str, note: str) -> int:
    """Record that a person did DUTY for ENV. Drills record themselves."""
    from backstay.pipeline.document import duty_run_document
    from backstay.pipeline.duty import done_by_hand

    found = project(settings, environment)
    run = done_by_hand(found.store(), wiring.host(), found.app, environment, Duty(duty), note)
    if settings.json:
        click.echo(json.dumps(duty_run_document(run)))
    else:
        click.echo(f"{environment}: {duty} done by {run.owner}: {run.detail}", err=True)
    return 0


def _took(began: str, ended: str | None) -> str:
    from backstay.domain.duration import format_duration

    if ended is None:
        return Outcome.RUNNING.value
    return format_duration((datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds())
