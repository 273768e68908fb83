"""What people see while they wait: each fault once, and a notice is no fault."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.cli.options import Settings
from backstay.cli.progress import Progress
from backstay.domain.step import Event


def shown(capsys: pytest.CaptureFixture[str], *events: tuple[str, str, dict[str, Any]]) -> list[str]:
    progress = Progress(Settings())
    for number, (kind, message, data) in enumerate(events, 1):
        progress.show(Event(number, "2026-03-01T12:00:00.000Z", "d1", kind, "health", message, data))
    return [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]


def test_a_fault_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    why = "backend was not healthy within 6 s"
    assert shown(
        capsys,
        ("step_failed", why, {"took_s": 6.0}),
        ("reversal_started", why, {}),
        ("step_undone", "start the new slot", {}),
        ("deployment_failed", why, {}),
    ) == [f"✗ {why}  (6.0 s)", "↺ start the new slot"]


@pytest.mark.parametrize(
    ("severity", "lines"),
    [("error", ["✗ tls: expired"]), ("warning", ["! tls: expired"]), ("notice", [])],
)
def test_a_notice_is_no_fault(capsys: pytest.CaptureFixture[str], severity: str, lines: list[str]) -> None:
    assert shown(capsys, ("smoke_done", "tls: expired", {"ok": False, "severity": severity})) == lines
