"""Every kind of configuration fault, as a person meets it: exit status 2, file, line, key, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Backstay
from tests.config.faulty import EDITS, TEXTS
from tests.config.samples import GOOD, written

PROD = 1 + GOOD.splitlines().index("  prod:")
"""From this line on, a fault is one of an environment, and no hindrance to the other one."""
NAMED = {"environment name": "prod eu", "duplicate environment": "dev"}
"""Faults after which there is no `prod`: the environment to ask for."""

FAULTS: dict[str, tuple[str | bytes, int, str]] = {
    **{name: (GOOD.replace(old, new, 1), line, said) for name, (old, new, line, said) in EDITS.items()},
    **TEXTS,
}


def test_there_are_enough_of_them() -> None:
    """Sixty kinds of fault, told apart by what is said about them."""
    assert len(FAULTS) >= 100
    assert len({said for _, _, said in FAULTS.values()}) >= 60


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_every_command_with_2(backstay: Backstay, folder: Path, home: Path, name: str) -> None:
    content, line, said = FAULTS[name]
    written(folder, content)
    place = f"backstay.yml:{line}: " if line else "backstay.yml: "
    checked = backstay("config", "check")
    assert (checked.status, checked.out) == (2, "")
    assert any(told.startswith(place) and said in told for told in checked.err.splitlines()), checked.err
    document = backstay("config", "check", "--json").document
    assert document["ok"] is False
    assert any((c["line"] or 0) == line for c in document["checks"] if not c["ok"])
    environment = NAMED.get(name, "prod" if line >= PROD else "dev")
    for command in ("deploy", "plan"):
        done = backstay(command, environment, "--version", "v1")
        assert done.status == 2, done.err
        assert place in done.err and said in done.err and "Traceback" not in done.err
    assert not home.exists()
