"""The table of commands. A command's module is imported only when that command is run or asked for help."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from backstay.cli.interrupt import Left
from backstay.cli.options import Settings, with_common_options
from backstay.cli.output import is_of_printing, open_closed

COMMANDS = {
    "init": ("backstay.cli.init", "Write a first backstay.yml, or the five scripts for GitHub workflows."),
    "deploy": ("backstay.cli.deploy", "Make a version live: checked, backed up, switched, watched."),
    "rollback": ("backstay.cli.rollback", "Go back to the release that served before."),
    "check": ("backstay.cli.check", "Look at all that a deploy will need, and touch nothing."),
    "plan": ("backstay.cli.plan", "Show what a deploy would do, and touch nothing."),
    "rehearse": ("backstay.cli.rehearse", "Try a version on a copy of the database, and touch nothing."),
    "status": ("backstay.cli.status", "Show what serves now, asked from engine and router."),
    "smoke": ("backstay.cli.smoke", "Ask the application what only a good one answers."),
    "attach": ("backstay.cli.attach", "Follow the deployment that is under way."),
    "abort": ("backstay.cli.abort", "Stop the deployment that is under way, safely."),
    "recover": ("backstay.cli.recover", "Bring what a dead worker left to its end, and mend what differs."),
    "lock": ("backstay.cli.lock", "Lock an environment for maintenance, free it, show who holds it."),
    "history": ("backstay.cli.history", "List the deployments of an environment, newest first."),
    "show": ("backstay.cli.show", "Show one deployment with its steps."),
    "events": ("backstay.cli.events", "Print the events of a deployment."),
    "backup": ("backstay.cli.backup", "Back the database up now, list and verify the backups."),
    "drill": ("backstay.cli.drill", "Recover or roll back on purpose, measure, and keep the evidence."),
    "duty": ("backstay.cli.duty", "List what has to be done from time to time, and tick it off."),
    "serve": ("backstay.cli.serve", "Look after schedules, protection, objectives and dead deployments."),
    "notify": ("backstay.cli.notify", "Tell people about ENV: log, GitHub and every configured receiver."),
    "notifications": ("backstay.cli.notifications", "List what was told, and retry what did not arrive."),
    "config": ("backstay.cli.config", "Check, show or describe backstay.yml."),
    "version": ("backstay.cli.version", "Print the version."),
}

EPILOG = """\b
Examples:
  backstay plan prod --version v2
  backstay deploy prod --version v2
  backstay status prod
  backstay rollback prod

Exit status: 0 done · 2 usage or configuration · 10 a check failed, nothing changed · 11 locked ·
12 not allowed · 20 failed, the old release serves · 21 needs a human · 30 backup or rehearsal failed · 130 aborted
"""

WANTS_JSON = "backstay.json"


class LazyGroup(click.Group):
    """Names and summaries come from the table; the code comes when it is needed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WANTS_JSON] = wants_json(args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message + _suggestion(args[0]), ctx) from error


def wants_json(words: Sequence[str]) -> bool:
    """Whether a line asks for JSON, as far as that can be told of one that is wrong or not read to its end."""
    words = list(words)
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _print_version(ctx: click.Context, option: click.Parameter, is_wanted: bool) -> None:
    if is_wanted and not ctx.resilient_parsing:
        from backstay.cli.version import version

        click.echo(version(as_json=ctx.meta[WANTS_JSON]))
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
@with_common_options
def cli(settings: Settings) -> None:
    """Deploy containerised web applications so that a bad release cannot hurt anyone."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run, and leave with an exit status of the contract. Nothing but a clear message ever reaches the user."""
    open_closed()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on we can say what it means
    words = sys.argv[1:] if args is None else list(args)
    try:
        result = cli.main(args=words, prog_name="backstay", standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):  # a reader that left early; click makes an exit of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (Exception, KeyboardInterrupt, Left) as error:  # noqa: BLE001 - the last net: never a traceback
        status = _status_of(error, wants_json(words))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(status)


def _status_of(error: BaseException, as_json: bool) -> int:
    """Tell of whatever no command told of by itself; returns the exit status."""
    from backstay.cli import failure

    if isinstance(error, click.ClickException):
        return failure.wrong_line(error, as_json)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return failure.interrupted(error, as_json)
    if isinstance(error, Left):
        return error.status if error.begun else failure.left(error.status, as_json)
    if isinstance(error, OSError) and is_of_printing(error):
        return failure.unheard(error)
    assert isinstance(error, Exception)
    return failure.report(error, as_json)


def _suggestion(word: str) -> str:
    import difflib

    close = difflib.get_close_matches(word, COMMANDS, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
