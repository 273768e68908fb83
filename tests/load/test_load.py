"""The load client sees every misbehaviour under its right name, and nothing where there is none."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.load import FAILED_OUTCOMES, Load, LoadError, LoadPlan, Record, Report
from tests.load import misbehaving as does
from tests.load.misbehaving import Misbehaving
from tests.load.record import KINDS, WEBSOCKET
from tests.world.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with Misbehaving() as running:
        yield running


def plan_for(server: Misbehaving) -> LoadPlan:
    return LoadPlan("127.0.0.1", server.port, timeout_s=3)


def all_kinds_seen(report: Report) -> bool:
    return all(counts.requests >= 3 for counts in report.by_kind.values())


def outcomes_in(report: Report, server_mode_since: float, websocket: bool) -> set[str]:
    """The outcomes of what was sent after the server had changed its mode."""
    return {
        r.outcome for r in report.records if r.time > server_mode_since and (r.kind == WEBSOCKET) == websocket
    }


def test_a_good_server_gets_no_failure_in_any_kind(server: Misbehaving) -> None:
    with Load(plan_for(server)) as load:
        load.until(lambda r: r.requests >= 1000)
        report = load.stop()
    assert report.failed == 0, report.table()
    assert report.reconnects == 0 and report.bad_answers == {}
    assert set(report.by_kind) == set(KINDS)
    assert all(counts.requests > 0 for counts in report.by_kind.values()), report.table()
    assert report.by_release == {"v1": report.requests}
    assert report.by_kind["slow"].p50_s >= 0.2
    assert report.ended_by == "stopped"
    assert len(set(server.orders)) == len(server.orders) == report.by_kind["post"].requests


def test_chunked_answers_are_read(server: Misbehaving) -> None:
    with Misbehaving(chunked=True) as chunked, Load(plan_for(chunked)) as load:
        report = load.until(all_kinds_seen)
    assert report.failed == 0, report.table()


@pytest.mark.parametrize(
    ("mode", "http", "websocket"),
    [
        (does.RESET, {"reset"}, {"reset"}),
        (does.EOF, {"eof"}, {"eof"}),
        (does.HALF, {"eof"}, {"ok"}),
        (does.ROUTER_503, {"status"}, {"status"}),
        (does.NOT_JSON, {"wrong-body"}, {"ok"}),
        (does.OTHER_VERSION, {"wrong-body", "ok"}, {"ok"}),
        (does.NAMELESS, {"wrong-body"}, {"ok"}),
        (does.EXTRA, {"wrong-body"}, {"ok"}),
        (does.NOT_HTTP, {"not-http"}, {"ok"}),
        (does.WS_DROP, {"ok"}, {"eof", "ok"}),
        (does.WS_CLOSE, {"ok"}, {"ws-close", "ok"}),
        (does.WS_WRONG, {"ok"}, {"wrong-body", "ok"}),
    ],
)
def test_a_failure_is_seen_under_its_name(
    server: Misbehaving, mode: str, http: set[str], websocket: set[str]
) -> None:
    server.mode = mode
    plan = plan_for(server)
    if mode == does.NOT_JSON:
        plan = replace(plan, page_path="")
    if mode == does.WS_DROP:
        plan = replace(plan, ws_pacing_s=0.5)  # a message that comes before the drop has its connection reset
    with Load(plan) as load:
        load.until(all_kinds_seen)
        report = load.stop()
    assert outcomes_in(report, 0, websocket=False) == http, report.table()
    assert outcomes_in(report, 0, websocket=True) == websocket, report.table()
    assert report.reconnects == 0
    assert report.bad_answers == {}
    assert {r.outcome for r in report.failures} == (http | websocket) & FAILED_OUTCOMES
    assert all(r.detail for r in report.failures)
    assert sum(report.failures_over_time().values()) == report.failed


def test_a_hang_is_a_timeout(server: Misbehaving) -> None:
    server.mode = does.HANG
    with Load(replace(plan_for(server), timeout_s=0.5)) as load:
        report = load.until(all_kinds_seen)
    assert set(report.outcomes) == {"timeout"}, report.table()
    assert all(0.5 <= r.took_s < 2 for r in report.failures)


def test_a_stop_waits_for_the_verdict_on_requests_in_flight(server: Misbehaving) -> None:
    with Load(replace(plan_for(server), timeout_s=1)) as load:
        load.until(all_kinds_seen)
        server.mode = does.HANG
        since = load.now()
        assert wait_until(lambda: server.hung >= 10, 30)
        report = load.stop()
    assert outcomes_in(report, since + 0.1, websocket=False) <= {"timeout"}
    assert report.failed >= 10, report.table()


def test_answers_of_a_release_with_an_error_are_bad_answers_and_not_failures(server: Misbehaving) -> None:
    server.mode = does.OWN_500
    server.release = "v4"
    with Load(plan_for(server)) as load:
        load.until(all_kinds_seen)
        report = load.stop()
    http = sum(counts.requests for kind, counts in report.by_kind.items() if kind != WEBSOCKET)
    assert report.failed == 0, report.table()
    assert report.bad_answers == {"v4": http}
    assert report.outcomes == {"bad-answer": http, "ok": report.by_kind[WEBSOCKET].requests}


def test_a_handshake_that_a_release_declines_is_its_bad_answer(server: Misbehaving) -> None:
    server.mode = does.WS_REFUSED
    with Load(plan_for(server)) as load:
        load.until(all_kinds_seen)
        report = load.stop()
    assert report.failed == 0 and report.bad_answers == {"v1": report.by_kind[WEBSOCKET].requests}


@pytest.mark.parametrize("mode", [does.IDLE_CLOSE, does.IDLE_408, does.WS_GOODBYE])
def test_a_connection_closed_while_idle_is_a_reconnect_and_no_failure(server: Misbehaving, mode: str) -> None:
    server.mode = mode
    kinds = {WEBSOCKET} if mode == does.WS_GOODBYE else {"keep-alive", "post", "slow"}
    with Load(replace(plan_for(server), pacing_s=0.5, ws_pacing_s=0.5)) as load:
        load.until(lambda r: all_kinds_seen(r) and all(r.by_kind[kind].reconnects for kind in kinds))
        report = load.stop()
    assert set(report.outcomes) == {"ok", "reconnect"}, report.table()
    assert {kind for kind, counts in report.by_kind.items() if counts.reconnects} == kinds
    assert report.requests == report.outcomes["ok"]


def test_a_message_that_crosses_the_words_of_a_leaving_server_is_sent_again(server: Misbehaving) -> None:
    server.mode = does.WS_LEAVE
    with Load(plan_for(server)) as load:
        load.until(lambda r: all_kinds_seen(r) and r.by_kind[WEBSOCKET].reconnects >= 3)
        report = load.stop()
    assert report.failed == 0, report.table()


def test_it_is_a_failure_when_it_gets_no_echo_then_either(server: Misbehaving) -> None:
    server.mode = does.WS_LEAVE_AGAIN
    with Load(plan_for(server)) as load:
        load.until(lambda r: all_kinds_seen(r) and r.failed >= 3)
        report = load.stop()
    assert {r.outcome for r in report.failures} == {"ws-close"}, report.table()


def refused(report: Report, kind: str, since: float) -> int:
    return sum(r.outcome == "refused" and r.kind == kind and r.time > since for r in report.records)


def test_refused_connects_are_seen_and_end_when_the_server_is_back(server: Misbehaving) -> None:
    with Load(plan_for(server)) as load:
        load.until(all_kinds_seen)
        server.refuse()
        gone = load.now()
        load.until(lambda r: all(refused(r, kind, gone) >= 20 for kind in KINDS))
        noticed = load.now()
        load.until(lambda r: all(refused(r, kind, noticed) >= 3 for kind in KINDS))
        closed = load.now()
        server.accept()
        back = load.now()
        load.until(lambda r: all_kinds_seen(r.between(back, back + 60)))
        report = load.stop()
    shut = Report([r for r in report.records if gone < r.time and r.ended < closed])
    assert outcomes_in(shut, gone, websocket=True) <= {"refused", "eof", "reset"}
    assert {r.outcome for r in shut.records if r.time > noticed} == {"refused"}, report.table()
    assert report.between(back, back + 60).failed == 0, report.table()
    assert report.failed >= 20


def test_a_switch_of_releases_is_timed_and_stale_answers_are_found(server: Misbehaving) -> None:
    with Load(plan_for(server)) as load:
        load.until(all_kinds_seen)
        assert load.so_far().first_answer("v2") is None
        server.release = "v2"
        switched = load.now()
        load.until(lambda r: r.by_release.get("v2", 0) > 100)
        report = load.stop()
    first, last = report.first_answer("v2", switched), report.last_answer("v1")
    assert first is not None and switched <= first < switched + 1
    assert last is not None and last < switched + 1
    assert report.sent_after(switched, "v1") == [], report.table()
    assert len(report.sent_after(switched, "v2")) > 50
    assert report.sent_after(report.records[0].time - 1, "v1")


def test_messages_of_a_websocket_opened_before_the_switch_are_not_stale() -> None:
    old = Record(20.0, 0.1, WEBSOCKET, "/echo", "v1", "ok", None, 5.0, "")
    new = old._replace(routed=15.0)
    assert Report([old, new]).sent_after(10.0, "v1") == [new]


def test_the_run_ends_at_its_bounds_and_says_so(server: Misbehaving) -> None:
    with Load(replace(plan_for(server), max_requests=50)) as load:
        load.until(lambda r: r.ended_by != "")
        report = load.stop()
    assert report.ended_by == "max_requests" and 50 <= report.requests <= 80
    with Load(replace(plan_for(server), max_seconds=0.3)) as load:
        report = load.until(lambda r: r.ended_by != "")
        assert load.stop().ended_by == report.ended_by == "max_seconds"


def test_sigterm_ends_the_client_in_good_order(server: Misbehaving) -> None:
    with Load(plan_for(server)) as load:
        load.until(all_kinds_seen)
        os.kill(load.pid, signal.SIGTERM)
        report = load.until(lambda r: r.ended_by != "")
        assert load.stop().requests == report.requests
    assert report.ended_by == "SIGTERM" and report.failed == 0, report.table()


def test_a_client_that_is_killed_gives_no_numbers(server: Misbehaving) -> None:
    with pytest.raises(LoadError, match="ended with code -9"), Load(plan_for(server)) as load:
        os.kill(load.pid, signal.SIGKILL)
        load.stop()


def test_a_name_that_does_not_resolve_is_an_error_of_the_client() -> None:
    with pytest.raises(LoadError, match="gaierror"), Load(LoadPlan("no-such-host.invalid", 80)):
        pass


_PARENT = """
import json, sys, time
from tests.load import Load, LoadPlan
with Load(LoadPlan("127.0.0.1", int(sys.argv[1]))) as load:
    print(json.dumps([load.pid, str(load._folder)]), flush=True)
    time.sleep(60)
"""


def test_the_client_ends_by_itself_when_its_parent_is_killed(server: Misbehaving) -> None:
    command = [sys.executable, "-c", _PARENT, str(server.port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, folder = json.loads(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists() and Path(folder).exists()
        parent.kill()
    deadline = time.monotonic() + 5
    while Path(folder).exists() or _runs(pid):
        assert time.monotonic() < deadline, "the client outlived its parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_leaving_the_block_removes_process_and_folder(server: Misbehaving) -> None:
    with pytest.raises(ZeroDivisionError), Load(plan_for(server)) as load:
        pid, folder = load.pid, load._folder
        raise ZeroDivisionError
    assert not _runs(pid) and not folder.exists()


def test_the_command_line_prints_the_table(server: Misbehaving) -> None:
    command = [sys.executable, "-m", "tests.load", "--port", str(server.port), "--seconds", "0.5"]
    good = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert good.returncode == 0 and "answers by release: v1" in good.stdout, good.stderr
    server.mode = does.ROUTER_503
    bad = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 1 and "failures by outcome: status" in bad.stdout, bad.stderr
