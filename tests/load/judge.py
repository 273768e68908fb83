"""Decides what one whole HTTP answer is: right, a release's own bad answer, or a failure."""

import json
from typing import NamedTuple

from tests.load import record
from tests.load.plan import LoadPlan
from tests.load.wire import Answer


class Verdict(NamedTuple):
    """How a request ended."""

    outcome: str
    release: str | None
    status: int | None
    detail: str


def release_of(headers: dict[str, str], plan: LoadPlan) -> str | None:
    """The release that names itself in the headers, if any."""
    return headers.get(plan.release_header.lower()) or None if plan.release_header else None


def judge(answer: Answer, path: str, plan: LoadPlan, unasked: int) -> Verdict:
    """The verdict on `answer` to `path`; `unasked` is the number of bytes that came after its end."""
    release = release_of(answer.headers, plan)
    if not 200 <= answer.status < 300:
        outcome = record.BAD_ANSWER if release else record.STATUS
        return Verdict(outcome, release, answer.status, answer.body[:120].decode("utf-8", "replace"))
    problem = _problem(answer, path, plan, release)
    if problem is None and unasked:
        problem = f"{unasked} bytes after the end of the answer"
    outcome = record.OK if problem is None else record.WRONG_BODY
    return Verdict(outcome, release, answer.status, problem or "")


def _problem(answer: Answer, path: str, plan: LoadPlan, release: str | None) -> str | None:
    if plan.release_header and release is None:
        return f"no release named itself: {answer.body[:80]!r}"
    if path == plan.page_path and path not in (plan.get_path, plan.post_path, plan.slow_path):
        return None if plan.page_contains.encode() in answer.body else f"not the page: {answer.body[:80]!r}"
    try:
        data = json.loads(answer.body)
    except ValueError:
        return f"not JSON: {answer.body[:80]!r}"
    named = data.get("version") if isinstance(data, dict) else None
    if release is not None and isinstance(named, str) and named != release:
        return f"the header says {release}, the body {named}"
    return None
