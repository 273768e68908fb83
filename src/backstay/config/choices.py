"""Values of backstay.yml that are one of a few words. As in `values.py`, ValueError says what is allowed."""

from __future__ import annotations

from typing import Any, Final

from backstay.config.problem import suggestion

ENGINES: Final = ("docker", "process")
LEVELS: Final = ("basic", "standard", "strict")
BACKUP_RULES: Final = ("migration", "always")
TRIALS: Final = ("off", "migration", "always")
CHECK_SETS: Final = ("basic", "standard", "strict")
BACKUP_KINDS: Final = ("auto", "logical", "physical")
SMOKE_SETS: Final = ("essential", "full")
METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


def engine(value: Any) -> str:
    return _one_of(ENGINES, value)


def level(value: Any) -> str:
    return _one_of(LEVELS, value)


def backup_rule(value: Any) -> str:
    return _one_of(BACKUP_RULES, value)


def backup_kind(value: Any) -> str:
    return _one_of(BACKUP_KINDS, value)


def trial(value: Any) -> str:
    return _one_of(TRIALS, "off" if value is False else value)  # YAML reads off as no


def check_set(value: Any) -> str:
    return _one_of(CHECK_SETS, value)


def smoke_set(value: Any) -> str:
    return _one_of(SMOKE_SETS, value)


def method(value: Any) -> str:
    return _one_of(METHODS, value)


def _one_of(allowed: tuple[str, ...], value: Any) -> str:
    if value not in allowed:
        close = suggestion(value, allowed) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(allowed)}{close}")
    return str(value)
