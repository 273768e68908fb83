"""squawk, the linter of PostgreSQL migrations, as a command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from backstay.domain.rehearsal import Lint

DEADLINE_S: Final = 20.0
MATTERS_OF_TASTE: Final = (
    "prefer-",
    "require-lock-timeout",  # set by us for every migration
    "require-statement-timeout",
    "require-timeout-settings",
    "require-table-schema",
    "syntax-error",
)
"""Rules, or beginnings of such, that say nothing about harm to those who use the database meanwhile."""


class Squawk:
    """Implements ports.linter.Linter."""

    def lint(self, statements: Sequence[str], major: int) -> tuple[Lint, ...]:
        if not statements:
            return ()
        program = _find()
        if program is None:
            return (Lint("linter", "squawk is not installed, so the statements were not looked at"),)
        text, lines = _joined(statements)
        words = [program, "--reporter=json", f"--pg-version={major}.0", "--stdin-filepath=migration.sql"]
        try:
            done = subprocess.run(
                words, input=text, capture_output=True, text=True, timeout=DEADLINE_S, check=False
            )
            return tuple(_lint(each, statements, lines) for each in json.loads(done.stdout) if _matters(each))
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
            return (
                Lint("linter", f"squawk did not answer ({type(error).__name__}), so nothing was looked at"),
            )


def _find() -> str | None:
    """The one that was installed with us, before any other."""
    ours = Path(sysconfig.get_path("scripts")) / "squawk"
    return str(ours) if ours.exists() else shutil.which("squawk")


def _joined(statements: Sequence[str]) -> tuple[str, list[int]]:
    """One text, and for each of its lines the number of the statement that it belongs to."""
    parts = [f"{each.rstrip().rstrip(';')}\n;" for each in statements]
    lines = [number for number, part in enumerate(parts) for _ in part.split("\n")]
    return "\n".join(parts) + "\n", lines


def _matters(found: dict[str, Any]) -> bool:
    return not str(found["rule_name"]).startswith(MATTERS_OF_TASTE)


def _lint(found: dict[str, Any], statements: Sequence[str], lines: Sequence[int]) -> Lint:
    line = int(found["line"])
    sql = statements[lines[line]] if line < len(lines) else ""
    return Lint(str(found["rule_name"]), str(found["message"]), sql)
