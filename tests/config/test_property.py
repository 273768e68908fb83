"""Whatever is written: `check` never raises, and what it calls good loads in every environment."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.config import Severity, check, load, outline, show
from backstay.config.problem import KeyPath
from backstay.errors import ConfigError
from tests.config.samples import FULL, written

BASE: Any = yaml.safe_load(FULL.replace("${HOOK}", "hook").replace("off", "'off'"))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70000),
    st.floats(allow_nan=False),
    st.sampled_from(
        [
            "",
            "a",
            "local",
            "/",
            "/x",
            "10s",
            "0s",
            "999h",
            ":80",
            "512m",
            "strict",
            "${A}",
            "$",
            "é",
            "*",
            "a:/b",
            "1-2",
        ]
    ),
    st.text(max_size=5),
    st.sampled_from([[], {}, ["a"], {"a": "b"}, [[]], {"a": {}}, [{"path": "/", "component": "backend"}]]),
)


def _paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(below for part, child in children for below in _paths(child, (*path, part)))]


def _put(data: Any, path: tuple[Any, ...], value: Any, remove: bool) -> Any:
    if not path:
        return data if remove else value
    parent: Any = data
    for part in path[:-1]:
        try:
            parent = parent[part]
        except (KeyError, IndexError, TypeError):
            return data
    if isinstance(parent, dict) or (
        isinstance(parent, list) and isinstance(path[-1], int) and path[-1] < len(parent)
    ):
        if remove and (not isinstance(parent, dict) or path[-1] in parent):
            del parent[path[-1]]
        elif not remove:
            parent[path[-1]] = value
    return data


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_paths(BASE)), VALUES, st.booleans()), min_size=1, max_size=3))
def test_what_is_checked_clean_loads(changes: list[tuple[KeyPath, Any, bool]]) -> None:
    data = copy.deepcopy(BASE)
    for path, value, remove in changes:
        data = _put(data, path, copy.deepcopy(value), remove)
    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
        problems = [p for p in check(file, {"A": "b"}) if p.severity is Severity.ERROR]
        for problem in problems:
            assert str(problem)
        if not problems:
            for environment in outline(file, {"A": "b"}).environments:
                assert load(file, environment, {"A": "b"}).environment.name == environment
                assert show(file, environment, {"A": "b"})


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!<>|?#,'\"\n ~0", max_size=40).map(str.encode)
    )
)
def test_any_bytes_are_answered_with_problems(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), content)
        assert check(file, {})
        try:
            load(file, "dev", {})
        except ConfigError as told:
            assert told.message
        else:
            raise AssertionError("loaded")
