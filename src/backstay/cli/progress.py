"""Progress for people: plain lines everywhere, a live line with the elapsed time on a terminal."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from backstay.cli.options import Settings
from backstay.cli.output import put, silence
from backstay.domain.deployment import Deployment, DeploymentState
from backstay.domain.duration import format_duration
from backstay.domain.slot import Slots
from backstay.domain.step import Event

if TYPE_CHECKING:
    from rich.status import Status

DETAILS = frozenset({"step_started", "check_done", "probe_failed", "image_pulled", "smoke_done"})
"""Kinds that are printed only with --verbose; a failing one is printed always."""
MARKS = {
    "step_done": "✓",
    "step_failed": "✗",
    "step_undone": "↺",
    "traffic_switched": "⇄",
    "rollback_triggered": "!",
}
ENDS = {
    DeploymentState.SUCCEEDED: "is live",
    DeploymentState.ROLLED_BACK: "was reversed",
    DeploymentState.FAILED: "failed",
    DeploymentState.ABORTED: "was aborted",
    DeploymentState.NEEDS_ATTENTION: "needs a human",
}


class Progress:
    """Prints events on standard error. Used as a context manager around a wait."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_live = sys.stderr.isatty() and settings.color and not settings.json and not settings.quiet
        self.status: Status | None = None
        self.faults: set[str] = set()

    def __enter__(self) -> Progress:
        if self.is_live and os.environ.get("TERM") != "dumb":
            from rich.console import Console

            self.status = Console(stderr=True).status("starting", spinner="dots")
            self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, self.status = self.status, None
        if status is not None:
            try:
                status.stop()
            except OSError:  # the terminal is gone
                silence(sys.stderr.fileno())

    def say(self, text: str) -> None:
        """A line that is always shown, as long as there is anybody to see it."""
        if self.status is None:
            put(text, err=True)
            return
        try:
            self.status.console.print(text, highlight=False, markup=False)
        except OSError:
            silence(sys.stderr.fileno())

    def show(self, event: Event) -> None:
        """One event, if it is worth a line at this verbosity."""
        if self.settings.quiet:
            return
        if self.status is not None and event.kind in ("step_started", "baking", "backup_progress"):
            self.status.update(f"{event.message} …")
            if event.kind != "step_started":
                return
        if event.message in self.faults and event.kind not in MARKS:
            return  # a failed step has said it; the reversal and the end say it again, for those who read events
        if event.kind == "step_failed":
            self.faults.add(event.message)
        failed = event.data.get("ok") is False and event.data.get("severity") != "notice"
        if event.kind in DETAILS and not failed and not self.settings.verbose:
            return
        took = event.data.get("took_s")
        suffix = f"  ({format_duration(took)})" if isinstance(took, int | float) else ""
        mark = (
            ("!" if event.data.get("severity") == "warning" else "✗")
            if failed
            else MARKS.get(event.kind, "·")
        )
        self.say(f"{time.strftime('%H:%M:%S')} {mark} {event.message}{suffix}")
        for line in event.data.get("output") or ():
            self.say(f"           | {line}")

    def end(self, deployment: Deployment, slots: Slots) -> None:
        """The last lines: what became of it, why, what serves, what next."""
        took = f" after {format_duration(deployment.total_s)}" if deployment.total_s is not None else ""
        verb = ENDS.get(deployment.state, deployment.state.value)
        self.say(f"{deployment.environment}: {deployment.version} {verb}{took}  [{deployment.id}]")
        if deployment.reason:
            self.say(f"why:     {deployment.reason}")
        if deployment.state is not DeploymentState.SUCCEEDED:
            serving = slots.serving
            self.say(f"serving: {f'{serving.version} ({slots.live})' if serving else 'nothing'}")
        if deployment.hint:
            self.say(f"next:    {deployment.hint}")
