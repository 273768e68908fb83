"""Telling processes apart, by real ones: a lease owner must never be taken for another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters import host as host_module
from backstay.adapters.host import LinuxHost, boot_id, start_time
from backstay.domain.lease import Owner, Presence
from backstay.errors import Locked

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A child that heeds no polite signal."""
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def named(pid: int) -> Owner:
    started = start_time(pid)
    assert started is not None
    return replace(LinuxHost().owner(), pid=pid, started=started)


def until_zombie(pid: int) -> None:
    deadline = time.monotonic() + 10
    while start_time(pid) is not None:
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.01)


def test_this_process_names_itself() -> None:
    owner = LinuxHost().owner()
    assert owner.pid == os.getpid()
    assert owner.boot_id == boot_id() != ""
    assert owner.name and owner.host
    assert LinuxHost().presence(owner) is Presence.ALIVE


def test_a_running_child_is_alive(child: subprocess.Popen[str]) -> None:
    assert LinuxHost().presence(named(child.pid)) is Presence.ALIVE


def test_a_child_that_ended_is_gone_first_as_a_zombie_and_then_at_all(child: subprocess.Popen[str]) -> None:
    owner = named(child.pid)
    child.send_signal(signal.SIGKILL)
    until_zombie(child.pid)
    assert (Path("/proc") / str(child.pid)).exists(), "not reaped yet, so a zombie"
    assert LinuxHost().presence(owner) is Presence.GONE
    child.wait()
    assert LinuxHost().presence(owner) is Presence.GONE
    assert start_time(child.pid) is None


def test_a_pid_used_again_is_somebody_else(child: subprocess.Popen[str]) -> None:
    owner = named(child.pid)
    assert LinuxHost().presence(replace(owner, started=owner.started - 1)) is Presence.GONE
    assert LinuxHost().presence(replace(owner, boot_id="of an earlier boot")) is Presence.GONE


def test_start_times_tell_two_processes_apart() -> None:
    starts = set()
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            starts.add(start_time(process.pid))
            process.kill()
        time.sleep(2 / os.sysconf("SC_CLK_TCK"))
    assert len(starts) == 2


def test_a_process_elsewhere_is_not_known(child: subprocess.Popen[str]) -> None:
    elsewhere = replace(named(child.pid), host="another-host")
    assert LinuxHost().presence(elsewhere) is Presence.UNKNOWN


def test_a_person_is_never_gone_and_never_killed() -> None:
    """Its pid of 0 would be our own process group."""
    me = LinuxHost().owner().person
    assert LinuxHost().presence(me) is Presence.UNKNOWN
    LinuxHost().end(me)


def test_a_name_with_brackets_and_blanks_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b 1 2"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        try:
            assert LinuxHost().presence(named(process.pid)) is Presence.ALIVE
        finally:
            process.kill()


def test_ending_kills_and_waits_until_it_is_dead(child: subprocess.Popen[str]) -> None:
    owner = named(child.pid)
    LinuxHost().end(owner)
    assert LinuxHost().presence(owner) is Presence.GONE
    assert child.wait(timeout=5) == -signal.SIGKILL


def test_ending_never_touches_the_next_process_with_that_pid(child: subprocess.Popen[str]) -> None:
    owner = named(child.pid)
    for somebody_else in (
        replace(owner, started=owner.started - 1),
        replace(owner, boot_id="of an earlier boot"),
        replace(owner, host="another-host"),
    ):
        LinuxHost().end(somebody_else)
    assert child.poll() is None
    assert LinuxHost().presence(owner) is Presence.ALIVE


def test_what_does_not_die_is_told(child: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    owner = named(child.pid)
    monkeypatch.setattr(host_module, "DEATH_DEADLINE_S", 0.05)
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda process, number: None)
    with pytest.raises(Locked, match=rf"pid {child.pid}.* does not die either") as refused:
        LinuxHost().end(owner)
    assert str(child.pid) in (refused.value.hint or "") and refused.value.state == "nothing was changed"


def test_what_is_not_ours_to_kill_is_told(
    child: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(process: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    with pytest.raises(Locked, match="may not end it") as error:
        LinuxHost().end(named(child.pid))
    assert f"kill -9 {child.pid}" in (error.value.hint or "")
    assert child.poll() is None


def test_a_stopped_process_lives_and_dies_like_any_other(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGSTOP)
    owner = named(child.pid)
    assert LinuxHost().presence(owner) is Presence.ALIVE
    LinuxHost().end(owner)
    assert LinuxHost().presence(owner) is Presence.GONE


@pytest.mark.parametrize("field", ["machine", "pid_space"])
def test_another_machine_of_our_name_and_another_container_are_not_looked_into(
    child: subprocess.Popen[str], field: str
) -> None:
    """There our process table proves nothing: the same pid is another process, or none at all."""
    owner = replace(LinuxHost().owner(), pid=child.pid, started=0)
    assert LinuxHost().presence(owner) is Presence.GONE, "here it does"
    there = replace(owner, machine="another") if field == "machine" else replace(owner, pid_space="another")
    assert LinuxHost().presence(there) is Presence.UNKNOWN
    LinuxHost().end(replace(there, started=named(child.pid).started))
    assert child.poll() is None


def test_a_reboot_of_this_machine_ends_everybody_and_that_of_another_nobody() -> None:
    me = LinuxHost().owner()
    assert LinuxHost().presence(replace(me, boot_id="of an earlier boot")) is Presence.GONE
    namesake = replace(me, boot_id="of that machine", machine="another")
    assert LinuxHost().presence(namesake) is Presence.UNKNOWN
