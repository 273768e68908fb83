"""What is told, how it reads, and when it is tried again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backstay.domain.deployment import Deployment, DeploymentKind, DeploymentState
from backstay.domain.notification import (
    LOG,
    RETRY_AFTER_S,
    Channel,
    Notification,
    Status,
    annotation,
    kind_of,
    log_line,
    missing_channels,
    retry_after_s,
    status_of,
    text_of,
    title_of,
    told_of,
)
from backstay.domain.policy import Level

DEPLOY, ROLLBACK = DeploymentKind.DEPLOY, DeploymentKind.ROLLBACK
S = DeploymentState

DEPLOYMENT = Deployment(
    id="d1", app="shop", environment="prod", kind=DEPLOY, state=S.PENDING, version="v2", release=None, previous=None,
    token=1, requested_by="anna@control", created_at="2026-03-01T12:00:00.000Z", previous_version="v1",
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state", "status"),
    [
        (DEPLOY, S.PENDING, "started"),
        (DEPLOY, S.AWAITING_APPROVAL, None),
        (DEPLOY, S.RUNNING, None),
        (DEPLOY, S.BAKING, None),
        (DEPLOY, S.SUCCEEDED, "success"),
        (DEPLOY, S.ROLLED_BACK, "rollback"),
        (DEPLOY, S.FAILED, "failed"),
        (DEPLOY, S.ABORTED, "failed"),
        (DEPLOY, S.NEEDS_ATTENTION, "failed"),
        (ROLLBACK, S.PENDING, "started"),
        (ROLLBACK, S.SUCCEEDED, "rollback"),
        (ROLLBACK, S.FAILED, "failed"),
        (ROLLBACK, S.NEEDS_ATTENTION, "failed"),
    ],
)
def test_which_state_is_told_as_what(
    kind: DeploymentKind, state: DeploymentState, status: str | None
) -> None:
    assert status_of(kind, state) == status


@pytest.mark.parametrize("kind", DeploymentKind)
@pytest.mark.parametrize("state", [state for state in S if state.is_final])
def test_every_end_is_told(kind: DeploymentKind, state: DeploymentState) -> None:
    assert status_of(kind, state) not in (None, Status.STARTED)


@pytest.mark.parametrize(
    ("state", "reason", "message"),
    [
        (S.PENDING, None, "deploy of v2 (now v1) by anna@control [d1]"),
        (S.SUCCEEDED, None, "v2 is live after 6.2 s, before it v1 [d1]"),
        (S.ROLLED_BACK, "it was slow", "v2 was reversed after 6.2 s, v1 serves: it was slow [d1]"),
        (S.FAILED, "it broke", "v2 failed after 6.2 s: it broke [d1]"),
        (S.ABORTED, "aborted on request", "v2 was aborted after 6.2 s: aborted on request [d1]"),
        (S.NEEDS_ATTENTION, "both are bad", "v2 needs a human after 6.2 s: both are bad [d1]"),
    ],
)
def test_what_is_said(state: DeploymentState, reason: str | None, message: str) -> None:
    told = told_of(replace(DEPLOYMENT, state=state, reason=reason, total_s=6.21))
    assert told is not None and told.message == message


def test_components_are_named_in_order_or_all() -> None:
    assert [t.component for t in (told_of(DEPLOYMENT), told_of(DEPLOYMENT, ["b", "a"])) if t] == [
        "all",
        "a, b",
    ]


def test_the_waits_grow_and_end() -> None:
    waits = [retry_after_s(number) for number in range(1, 10)]
    assert waits == [*RETRY_AFTER_S, None, None]
    assert list(RETRY_AFTER_S) == sorted(RETRY_AFTER_S)


@pytest.mark.parametrize(
    ("status", "level", "kind"),
    [
        ("started", "notice", "info"),
        ("success", "notice", "success"),
        ("failed", "error", "failure"),
        ("rollback", "warning", "warning"),
        ("thawed", "notice", "info"),
    ],
)
def test_how_grave_a_status_is(status: str, level: str, kind: str) -> None:
    assert annotation(status, "t", "m") == f"::{level} title=t::m"
    assert kind_of(status) == kind


def test_an_annotation_is_one_command_whatever_the_message() -> None:
    line = annotation("failed", "shop: a,b\n", "100 % bad\r\n::error::forged, is it: not?")
    assert (
        line == "::error title=shop%3A a%2Cb%0A::100 %25 bad%0D%0A::error::forged, is it: not?"
    )  # the GitHub toolkit's own escapes
    assert len(line.splitlines()) == 1


def test_titles_name_the_component_unless_it_is_all() -> None:
    assert title_of("shop", "prod", "success", "all") == "shop prod: success"
    assert title_of("shop", "prod", "thawed", "backend") == "shop prod: thawed (backend)"


def test_what_comes_late_says_so() -> None:
    row = Notification(
        id=1, app="shop", environment="prod", deployment=None, status="started", component="all", message="hello",
        channel="json://[redacted]", target="f1", created_at="2026-03-01T12:00:00.000Z",
    )  # fmt: skip
    said = [text_of(row, datetime(2026, 3, 1, 12, minute, tzinfo=UTC)) for minute in (0, 1)]
    assert said == ["hello", "hello (late: from 2026-03-01T12:00:00.000Z)"]


def test_a_line_of_the_log_is_one_line_of_json() -> None:
    row = Notification(
        id=1, app="shop", environment="prod", deployment=None, status="failed", component="all",
        message="two\nlines\u2028 and Tür", channel="json://[redacted]", target="f1", created_at="x",
    )  # fmt: skip
    line = log_line(row)
    assert line.count("\n") == 1 and line.endswith("}\n")
    assert json.loads(line)["message"] == "two\nlines\u2028 and Tür"
    assert "f1" not in line


def test_a_channel_shows_its_scheme_alone() -> None:
    assert LOG.label == "log"
    assert Channel("slack", "0a1b2c").label == "slack://[redacted]"


@pytest.mark.parametrize(
    ("level", "schemes", "missing"),
    [
        (Level.BASIC, [], False),
        (Level.STANDARD, [], True),
        (Level.STANDARD, ["mailto"], True),
        (Level.STANDARD, ["mailto", "slack"], False),
        (Level.STANDARD, ["JSONS"], False),
        (Level.STRICT, [], True),
        (Level.STRICT, ["mailto"], False),
    ],
)
def test_what_a_policy_expects(level: Level, schemes: list[str], missing: bool) -> None:
    said = missing_channels(level, schemes)
    assert (said is not None) == missing
    assert said is None or (f"the {level} policy" in said and "notify:" in said)
