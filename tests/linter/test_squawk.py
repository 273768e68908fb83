"""What the linter says of schema changes, and that it never stands in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.adapters import squawk
from backstay.adapters.squawk import Squawk


def test_what_is_dangerous_is_told_with_its_statement() -> None:
    dropping = 'ALTER TABLE "catalog_product"\n  DROP COLUMN "discount" CASCADE'
    found = Squawk().lint(["CREATE TABLE t (id bigint)", dropping, "CREATE INDEX i ON orders (email);"], 15)
    assert [(lint.rule, lint.sql.partition(" ")[0]) for lint in found] == [
        ("ban-drop-column", "ALTER"), ("require-concurrent-index-creation", "CREATE"),
    ]  # fmt: skip
    assert found[0].sql == dropping
    assert "break existing clients" in str(found[0])


def test_matters_of_taste_and_what_it_cannot_read_are_left_out() -> None:
    assert Squawk().lint(["CREATE TABLE t (id int, n varchar(10))", "gibberish"], 15) == ()
    assert Squawk().lint([], 15) == ()


def test_a_missing_or_broken_linter_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "squawk"
    broken.write_text("#!/bin/sh\necho not json\n")
    broken.chmod(0o755)
    for program, words in (
        (str(broken), "did not answer"),
        (None, "not installed"),
        ("/none", "did not answer"),
    ):
        monkeypatch.setattr(squawk, "_find", lambda program=program: program)
        [told] = Squawk().lint(["CREATE INDEX i ON orders (email)"], 15)
        assert words in told.message
