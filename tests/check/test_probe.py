"""The first word with PostgreSQL from inside a container: what is sent, what the answers mean, what is left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backstay.pipeline.checks import probe
from backstay.pipeline.checks.address import DatabaseAddress, address_of
from tests.check.conftest import Site

ADDRESS = DatabaseAddress("127.0.0.1", 5432, "shop", "shop")
NO_ENTRY = [
    "E",
    "SFATAL",
    "VFATAL",
    "C28000",
    'Mno pg_hba.conf entry for host "172.30.0.2", user "shop"',
    "Fauth.c",
]


@pytest.mark.parametrize(
    ("output", "reached", "words"),
    [
        (["R", "SCRAM-SHA-256"], True, None),
        (["R"], True, None),
        (NO_ENTRY, False, "no pg_hba.conf entry"),
        (["sh: connect: Connection refused", "bash: /dev/tcp/db/1: Connection refused"], False, "Connection refused"),
        (["bash: db.invalid: Name or service not known"], False, "Name or service not known"),
        ([], False, "closed without a word"),
        (["HTTP/1.1 400 Bad Request"], False, "does not speak"),
        (["Running entry point", "R"], False, "does not speak"),
    ],
)  # fmt: skip
def test_what_an_answer_means(output: list[str], reached: bool, words: str | None) -> None:
    answer = probe.judge(output, wants_tls=False)
    assert answer.reached is reached
    assert words is None or words in (answer.refusal or answer.trouble)


def test_a_tool_that_failed_is_quoted() -> None:
    output = [
        "bash: connect: Cannot assign requested address",
        "bash: /dev/tcp/x: Cannot assign requested address",
    ]
    assert probe.judge(output, wants_tls=False, code=1).trouble == "Cannot assign requested address"


def test_with_tls_wanted_only_that_is_asked() -> None:
    assert probe.judge(["S"], wants_tls=True).reached
    assert "no TLS" in str(probe.judge(["N"], wants_tls=True).refusal)
    assert len(probe.first_word(DatabaseAddress("h", 1, "r", "n", wants_tls=True))) == 8


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://u:p@h/d", DatabaseAddress("h", 5432, "u", "d")),
        ("postgres://u:p%40@h:6000/d?sslmode=require", DatabaseAddress("h", 6000, "u", "d", True)),
        ("postgresql+psycopg://u@[::1]:7/d", DatabaseAddress("::1", 7, "u", "d")),
        ("postgresql://u@/d?host=/run/pg", DatabaseAddress("/run/pg", 5432, "u", "d")),
        ("mysql://u@h/d", None),
        ("postgresql://u@h:port/d", None),
        ("", None),
    ],
)
def test_where_a_url_leads(url: str, address: DatabaseAddress | None) -> None:
    assert address_of(url) == address


@pytest.fixture
def answering() -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection, notes what it hears and asks for a password; it never hangs up."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                heard.append(connection.recv(512))
                connection.sendall(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")
                connection.settimeout(20)
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("tool", ["bash", "python3"])
def test_the_script_speaks_with_each_tool(
    tool: str, answering: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    port, heard = answering
    address = DatabaseAddress("127.0.0.1", port, "rôle %s", "shop")
    for name in ("dd", "tr"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / tool).symlink_to("/bin/bash" if tool == "bash" else sys.executable)
    done = subprocess.run(
        ["/bin/sh", *probe.command(address)], env={"PATH": str(tmp_path)}, capture_output=True, timeout=20, check=False
    )  # fmt: skip
    assert heard == [probe.first_word(address)]
    assert "rôle %s".encode() + b"\0database\0shop\0" in heard[0]
    assert probe.judge(done.stdout.decode().splitlines(), wants_tls=False).reached, done


def test_an_image_without_a_tool_is_told_by_the_exit_code(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", *probe.command(ADDRESS)], env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode in probe.NO_TOOL


@pytest.mark.parametrize(
    ("output", "code", "severity", "words"),
    [
        (["R", "SCRAM-SHA-256"], 0, None, "answers a container"),
        (NO_ENTRY, 0, "error", "refuses: no pg_hba.conf entry"),
        (["bash: Connection refused"], 70, "error", "cannot reach db.example:5433 from a container"),
        ([], None, "error", "nothing answers at db.example:5433 from a container within 5 s"),
        ([], 69, "notice", "no tool that connects"),
        ([], 127, "notice", "no shell"),
    ],
)
def test_a_one_off_container_asks_and_is_removed(
    site: Site, output: list[str], code: int | None, severity: str | None, words: str
) -> None:
    site.engine.present, site.engine.output = True, output
    site.engine.exit_codes["check"] = code  # type: ignore[assignment]
    subject = site.subject
    subject.images = {
        name: type(w)(w.component, w.version, "sha256:" + "1" * 64) for name, w in subject.images.items()
    }
    from backstay.pipeline.check import run_checks
    from backstay.pipeline.checks.database import database_container

    (found,) = run_checks([database_container(subject)], site.clock, subject.redact)
    assert words in found.detail
    assert found.severity == (severity or "error") and found.ok == (severity != "error")
    if not found.ok:
        assert found.hint
    (spec,) = site.engine.specs.values()
    assert spec.labels["backstay.role"] == "check" and spec.network == "shop-uat" and not spec.restarts
    assert "hunter" not in repr(spec.command) and not spec.secrets
    assert not site.engine.containers and len(site.engine.removed) == 1
