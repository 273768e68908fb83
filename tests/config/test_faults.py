"""Every kind of fault: the line it is reported at, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.config import Severity, check, load
from backstay.errors import ConfigError
from tests.config.faulty import EDITS, TEXTS
from tests.config.samples import GOOD, written


def _faulty(name: str) -> str:
    old, new, _, _ = EDITS[name]
    assert GOOD.count(old) >= 1, f"{old!r} is not in the good file"
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_reported_where_it_is(name: str, tmp_path: Path) -> None:
    _, _, line, message = EDITS[name]
    path = written(tmp_path, _faulty(name))
    problems = [problem for problem in check(path, {}) if problem.severity is Severity.ERROR]
    told = [str(problem) for problem in problems]
    assert any(text.startswith(f"{path}:{line}: ") and message in text for text in told), told
    assert all(problem.position.column >= 1 for problem in problems if problem.position.line)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_refused_whole(name: str, tmp_path: Path) -> None:
    content, line, message = TEXTS[name]
    path = written(tmp_path, content)
    place = f"{path}:{line}: " if line else f"{path}: "
    told = [str(problem) for problem in check(path, {})]
    assert any(text.startswith(place) and message in text for text in told), told
    with pytest.raises(ConfigError):
        load(path, "dev", {})


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    [problem] = check(tmp_path / "backstay.yml", {})
    assert "cannot be read: No such file or directory" in str(problem)


def test_all_faults_come_at_once_in_order_of_lines(tmp_path: Path) -> None:
    text = GOOD
    names = [
        "app in capitals",
        "port 0",
        "secret twice",
        "route to nowhere",
        "bind port",
        "missing variable",
    ]
    for name in names:
        old, new, _, _ = EDITS[name]
        text = text.replace(old, new, 1)
    problems = check(written(tmp_path, text), {})
    assert [problem.position.line for problem in problems] == [1, 5, 8, 13, 19, 22]


def test_a_value_gets_one_fault(tmp_path: Path) -> None:
    """The unexpanded text is no path either, but saying so would only distract."""
    text = GOOD.replace("path: /api/,", "path: '${NOWHERE}',")
    problems = check(written(tmp_path, text), {})
    assert [problem.message for problem in problems] == [
        "the environment variable NOWHERE is not set; write $$ for a dollar sign"
    ]


@pytest.mark.parametrize("url", ["slack hooks/T0KEN/B0KEN", "T0KEN"])
def test_no_message_repeats_a_notification_url(url: str, tmp_path: Path) -> None:
    text = GOOD.replace("dev: {", f"dev: {{notify: ['{url}'], ")
    assert "T0KEN" not in "".join(map(str, check(written(tmp_path, text), {})))
