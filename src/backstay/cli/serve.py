"""`backstay serve`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from backstay import wiring
from backstay.cli.context import Project, project
from backstay.cli.options import Settings, with_common_options

if TYPE_CHECKING:
    from backstay.pipeline.daemon import Loaded

EPILOG = """\b
Examples:
  backstay serve
  backstay serve --config /srv/shop/backstay.yml --json
  backstay init --systemd            a unit that starts it

SIGTERM ends it safely; SIGHUP reads backstay.yml again, as a change of the file does.
"""
LOUD: Final = {
    "alarm": 3,
    "duty_failed": 3,
    "duty_lost": 4,
    "duty_missed": 4,
    "config_refused": 3,
    "round_failed": 3,
    "wal_late": 4,
    "wal_down": 4,
    "backup_slow": 4,
    "canary_silent": 4,
    "wal_advised": 5,
}
"""Kinds of lines that are more than information, with their syslog priority."""


@click.command(epilog=EPILOG)
@with_common_options
def command(settings: Settings) -> int:
    """Look after every environment of backstay.yml, until asked to end: run what is due, receive write-ahead log,
    measure the objectives, recover deployments whose worker died, and send notifications.

    One at a time for an application; a second one is refused (11).
    """
    from backstay.pipeline.daemon import Daemon

    found = project(settings)
    log = Log(settings)
    store = found.store()
    ports = wiring.serve.serve_ports(found.where, store, found.path)
    daemon = Daemon(
        ports=ports,
        app=found.app,
        serve=wiring.serve.serve(found.where, ports, log),
        load=lambda: load(found),
        stamp=lambda: _stamp(found),
        manager=wiring.serve.manager(os.environ),
        tell=log,
    )
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stopping.set())
    daemon.run()
    return 0


def load(found: Project) -> Loaded:
    """The configuration as it is now. Raises ConfigError."""
    from backstay.config import outline
    from backstay.pipeline.daemon import Loaded

    stamp = _stamp(found)
    names = outline(found.path, os.environ).environments
    applications = [found.application(name) for name in names]
    urls = list(dict.fromkeys(url for application in applications for url in application.notify))
    return Loaded(
        {application.environment.name: application.environment for application in applications},
        lambda: wiring.receivers(found.where, urls),
        stamp,
    )


def _stamp(found: Project) -> object:
    try:
        seen = found.path.stat()
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


class Log:
    """A line on standard error for everything that happens; as JSON on standard output with --json.

    The journal knows the time itself, and takes the priority from the beginning of a line (sd-daemon(3)).
    """

    def __init__(self, settings: Settings) -> None:
        self._json = settings.json
        self._quiet = settings.quiet
        self._journal = "JOURNAL_STREAM" in os.environ
        self._turn = threading.Lock()

    def __call__(self, kind: str, message: str, **data: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._turn:
            if self._json:
                click.echo(json.dumps({"at": at, "kind": kind, "message": message, "data": data}))
                sys.stdout.flush()
                return
            priority = LOUD.get(kind, 6)
            if self._quiet and priority > 4:
                return
            text = " ".join(message.splitlines())
            click.echo(f"<{priority}>{text}" if self._journal else f"{at} {text}", err=True)
