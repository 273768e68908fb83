"""What only plain processes do: who starts, adopts, owns and ends them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.host import boot_id, start_time
from backstay.adapters.process import ProcessEngine
from backstay.adapters.process.kin import descendants, marked
from backstay.adapters.process.output import Output, last_lines
from backstay.adapters.process.records import STATE
from backstay.domain.secret import Secret
from backstay.errors import EngineError
from backstay.ports.engine import Container
from tests.engine.bench import Bench, until

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def engine(process_bench: Bench) -> ProcessEngine:
    assert isinstance(process_bench.engine, ProcessEngine)
    return process_bench.engine


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Where the engine keeps its records."""
    return tmp_path / "state" / "processes"


def _pids(files: Path, container: Container) -> tuple[int, int]:
    """Supervisor and program."""
    state = json.loads((files / container.name / STATE).read_text())
    return state["supervisor"]["pid"], state["program"]["pid"]


def _up(engine: ProcessEngine, container: Container) -> None:
    until(lambda: "up" in engine.logs(container.id, 9), "its first words")


def _now(engine: ProcessEngine, container: Container) -> Container:
    found = engine.inspect(container.id)
    assert found is not None
    return found


def test_a_death_is_seen_and_nothing_restarts(
    process_bench: Bench, engine: ProcessEngine, files: Path
) -> None:
    container = engine.run(process_bench.server("web"))
    assert not container.can_restart
    os.kill(_pids(files, container)[1], signal.SIGSEGV)
    assert engine.wait(container.id, 10) == 128 + signal.SIGSEGV
    seen = _now(engine, container)
    assert (seen.running, seen.restarting, seen.restarts, seen.port) == (False, False, 0, container.port)


def test_nothing_outlives_the_program(process_bench: Bench, engine: ProcessEngine) -> None:
    """Not even what it put into a session of its own and turned its back on."""
    script = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "raise SystemExit(5)"
    )
    container = engine.run(process_bench.spec("parent", script, restarts=False))
    assert engine.wait(container.id, 10) == 5
    assert marked(container.id) == []


def test_stop_ends_children_too(process_bench: Bench, engine: ProcessEngine, files: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('up', flush=True); time.sleep(600)"
    )
    container = engine.run(process_bench.spec("parent", script))
    _up(engine, container)
    assert len(descendants(_pids(files, container)[0])) == 2
    engine.stop(container.id, 5)
    assert marked(container.id) == []
    assert _now(engine, container).exit_code == 128 + signal.SIGTERM


def test_a_killed_supervisor_takes_the_program_with_it(
    process_bench: Bench, engine: ProcessEngine, files: Path
) -> None:
    container = engine.run(process_bench.spec("job", SLEEP, restarts=False))
    _up(engine, container)
    supervisor, program = _pids(files, container)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: start_time(program) is None, "the program's end")
    assert engine.wait(container.id, 5) == 137
    again = engine.run(process_bench.spec("job", SLEEP, restarts=False))
    assert (again.id, again.running) == (container.id, False)  # a one-off is not started twice


def test_a_hung_supervisor_is_overcome(process_bench: Bench, engine: ProcessEngine, files: Path) -> None:
    container = engine.run(process_bench.spec("job", SLEEP))
    supervisor, program = _pids(files, container)
    os.kill(supervisor, signal.SIGSTOP)
    engine.remove(container.id)
    assert engine.inspect(container.id) is None
    assert start_time(supervisor) is None
    assert start_time(program) is None


def test_a_polite_kill_of_the_supervisor_is_passed_on(
    process_bench: Bench, engine: ProcessEngine, files: Path
) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(15, lambda *_: sys.exit(4))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    container = engine.run(process_bench.spec("job", script))
    _up(engine, container)
    os.kill(_pids(files, container)[0], signal.SIGTERM)
    assert engine.wait(container.id, 10) == 4


def test_a_process_outlives_whoever_started_it_and_is_adopted(
    process_bench: Bench, engine: ProcessEngine, tmp_path: Path
) -> None:
    """A worker dies in the middle of a migration; the next one waits for the same run."""
    script = "import time; print('began', flush=True); time.sleep(2); print('done'); raise SystemExit(6)"
    spec = process_bench.spec("migrate", script, restarts=False)
    starter = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from backstay.adapters.process import ProcessEngine
        from backstay.ports.engine import ContainerSpec
        spec = ContainerSpec({spec.name!r}, {spec.image!r}, {spec.network!r}, {dict(spec.labels)!r},
                             command={spec.command!r}, restarts=False)
        ProcessEngine(Path({str(tmp_path / "state")!r})).run(spec)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    died = subprocess.run([sys.executable, "-c", starter], check=False)
    assert died.returncode == -signal.SIGKILL
    adopted = engine.run(spec)
    assert adopted.running
    assert engine.wait(adopted.id, 10) == 6
    assert engine.logs(adopted.id, 9) == ["began", "done"]


def test_only_what_is_given_reaches_the_process(
    process_bench: Bench, engine: ProcessEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the deployer's")
    script = "import os; print(*sorted(os.environ)); print(os.environ['VERSION'], os.getcwd())"
    # Not by way of a shim on PATH, which may add variables of its own.
    command = (sys.executable, "-c", script)
    container = engine.run(process_bench.spec("env", "", command=command, restarts=False, env={"MODE": "x"}))
    engine.wait(container.id, 10)
    names, where = engine.logs(container.id, 9)
    assert set(names.split()) <= {"BACKSTAY_PROCESS", "HOME", "LANG", "LC_CTYPE", "MODE", "PATH", "VERSION"}
    assert where == f"v1 {process_bench.image.partition(':')[0]}"


def test_a_secret_is_in_no_file_and_no_argument(
    process_bench: Bench, engine: ProcessEngine, tmp_path: Path
) -> None:
    container = engine.run(process_bench.spec("job", SLEEP, secrets={"KEY": Secret("s3cr3t-73xq")}))
    _up(engine, container)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    argued = [
        path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if b"s3cr3t-73xq" in _content(path)
    ]
    assert (written, argued) == ([], [])


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_missing_program_is_named_and_leaves_nothing(process_bench: Bench, engine: ProcessEngine) -> None:
    spec = process_bench.spec("web", "", command=("gunicron", "shop"), env={"PATH": "/usr/bin:/bin"})
    with pytest.raises(EngineError, match=r"'gunicron' cannot be started in .*: No such file") as caught:
        engine.run(spec)
    assert "command must name a program" in str(caught.value.hint)
    assert engine.find(process_bench.labels) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"volumes": ("media:/srv",)}, "neither volumes nor memory limits"),
        ({"memory": 2**29}, "neither volumes nor memory limits"),
        ({"command": ()}, "has no command"),
        ({"name": "../up"}, "cannot be the name of a process"),
        ({"image": "/nowhere/v1:v1@sha256:0"}, "is gone: /nowhere/v1"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    change: dict[str, object], told: str, process_bench: Bench, engine: ProcessEngine
) -> None:
    with pytest.raises(EngineError, match=told):
        engine.run(replace(process_bench.spec("web", "pass"), **change))  # type: ignore[arg-type]
    assert engine.find(process_bench.labels) == []


def test_a_pid_that_somebody_else_has_now_is_left_alone(
    process_bench: Bench, engine: ProcessEngine, files: Path
) -> None:
    """After a reboot, or when pids have gone round: our own test would be killed here."""
    container = engine.run(process_bench.spec("job", "pass", restarts=False))
    engine.wait(container.id, 10)
    stranger = {"pid": os.getpid(), "started": (start_time(os.getpid()) or 0) - 1, "boot_id": boot_id()}
    rebooted = {"pid": os.getpid(), "started": start_time(os.getpid()), "boot_id": "before"}
    (files / container.name / "exit.json").unlink()
    for mark in (stranger, rebooted):
        state = {"supervisor": mark, "program": mark, "started_at": ""}
        (files / container.name / STATE).write_text(json.dumps(state))
        assert _now(engine, container).running is False
        engine.stop(container.id, 1)
    engine.remove(container.id)
    assert engine.inspect(container.id) is None


def test_a_folder_without_a_record_is_a_start_that_never_was(
    process_bench: Bench, engine: ProcessEngine, files: Path
) -> None:
    spec = process_bench.spec("web", SLEEP)
    (files / spec.name).mkdir(parents=True)
    assert engine.inspect(spec.name) is None
    assert engine.find(process_bench.labels) == []
    assert engine.run(spec).running


@pytest.fixture
def owned() -> Iterator[Path]:
    """A release folder of an unprivileged user, whom everybody lets through to it."""
    folder = Path(tempfile.mkdtemp(prefix="backstay-owned-"))
    folder.chmod(0o755)
    (folder / "v1").mkdir()
    owner = pwd.getpwnam("nobody")
    os.chown(folder / "v1", owner.pw_uid, owner.pw_gid)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a process other rights than its own")
def test_root_gives_a_process_the_rights_of_the_owner_of_its_folder(
    process_bench: Bench, engine: ProcessEngine, owned: Path
) -> None:
    nobody = pwd.getpwnam("nobody")
    image = engine.pull(
        str(owned / "{version}"), "v1", engine.digest(str(owned / "{version}"), "v1", None), None
    )
    command = ("sh", "-c", "id -u; id -g; echo $HOME; exec sleep 600")
    container = engine.run(process_bench.spec("web", "", image=image, command=command))
    until(lambda: len(engine.logs(container.id, 9)) == 3, "its words")
    assert engine.logs(container.id, 9) == [str(nobody.pw_uid), str(nobody.pw_gid), nobody.pw_dir]
    engine.stop(container.id, 5)
    assert _now(engine, container).exit_code == 128 + signal.SIGTERM


def test_output_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    output = Output(tmp_path / "log", largest=1000)
    for number in range(500):
        output.write(f"line {number}\n".encode())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert last_lines(tmp_path / "log", 100) == [f"line {number}" for number in range(400, 500)]
    assert last_lines(tmp_path / "nothing", 5) == []
