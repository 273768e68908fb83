"""Secrets files: who may read them, what they hold, and that no message tells a value."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest

from backstay.config import SecretsFile
from backstay.errors import SecretsError

VALUE = "s3cr3t-hunter2"


def _file(folder: Path, content: str | bytes, mode: int = 0o600) -> SecretsFile:
    path = folder / "dev.env"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return SecretsFile(path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("A=", ""),
        ("A=''", ""),
        ('A="quoted text"', "quoted text"),
        ("A='single'", "single"),
        ("""A="'inner'" """, "'inner'"),
        ("A='\"'", '"'),
        ('A="open', '"open'),
        ("A=\"mixed'", "\"mixed'"),
        ('A="', '"'),
        ("A= blanks around ", "blanks around"),
        ("A=' kept '", " kept "),
        ("A=$HOME ${HOME} `id`", "$HOME ${HOME} `id`"),
        ("A=a=b==", "a=b=="),
        ("A=x # y", "x # y"),
        (r"A=a\nb", r"a\nb"),
        ("  A=indented", "indented"),
        ("A=dos\r", "dos"),
        ("\ufeffA=bom", "bom"),
        ("A=é", "é"),
        ("# comment\n\n   # another = one\nA=after", "after"),
    ],
)
def test_values(line: str, value: str, tmp_path: Path) -> None:
    secrets = _file(tmp_path, line + "\n").read()
    assert {key: secret.reveal() for key, secret in secrets.items()} == {"A": value}


def test_it_is_read_anew_each_time(tmp_path: Path) -> None:
    source = _file(tmp_path, "A=1\n")
    before = source.read()["A"]
    _file(tmp_path, "A=2\n")
    assert before.reveal() != source.read()["A"].reveal()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"A=1\n{VALUE}\n", ":2: not a KEY=VALUE line"),
        (f"{VALUE}=x\n", ":1: a key must be letters, digits and _"),
        (f"1A={VALUE}\n", ":1: a key must be letters, digits and _"),
        (f"A ={VALUE}\n", ":1: no blank may stand before ="),
        (f"export A={VALUE}\n", ":1: leave out `export`"),
        (f"A=1\n\nA={VALUE}\n", ":3: A is there twice; first at line 1"),
        (f"A={VALUE}\0\n", ":1: a value cannot contain a NUL character"),
        (f"B=1\nA={VALUE}".encode() + b"\xff", ":2: not UTF-8"),
        (b"#" * (1024 * 1024 + 1), ": larger than 1 MiB"),
    ],
)
def test_a_malformed_file_is_refused_without_its_content(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    source = _file(tmp_path, content)
    with pytest.raises(SecretsError) as told:
        source.read()
    assert f"{source.path}{message}" in told.value.message
    assert VALUE not in "".join(traceback.format_exception(told.value)) + repr(told.value.__context__)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(SecretsError) as told:
        _file(tmp_path, "A\nB=1\nB=2\nC =3\n").read()
    assert [line.rsplit("dev.env:", 1)[1][0] for line in told.value.message.splitlines()] == ["1", "3", "4"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o601, 0o644, 0o660, 0o777])
def test_others_must_not_get_at_it(mode: int, tmp_path: Path) -> None:
    source = _file(tmp_path, f"A={VALUE}\n", mode)
    with pytest.raises(SecretsError, match=f"mode {mode:04o} lets others at it") as told:
        source.read()
    assert told.value.hint == f"chmod 600 {source.path}"
    assert told.value.exit_status == 2


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_the_owner_alone_may(mode: int, tmp_path: Path) -> None:
    assert _file(tmp_path, "A=1\n", mode).read()["A"].reveal() == "1"


def test_a_link_is_judged_by_what_it_points_to(tmp_path: Path) -> None:
    source = _file(tmp_path, "A=1\n", 0o644)
    link = tmp_path / "link.env"
    link.symlink_to(source.path)
    with pytest.raises(SecretsError, match="mode 0644"):
        SecretsFile(link).read()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretsError, match="not a regular file"):
        SecretsFile(tmp_path / "pipe").read()
    with pytest.raises(SecretsError, match="not a regular file"):
        SecretsFile(tmp_path).read()


def test_one_that_may_not_be_read_is_told_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _file(tmp_path, "A=1\n")

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("backstay.config.secrets_file.os.open", refuse)
    with pytest.raises(SecretsError, match="cannot be read: Permission denied") as told:
        source.read()
    assert f"ls -l {source.path}" in str(told.value.hint) and "user" in str(told.value.hint)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="No such file") as told:
        SecretsFile(tmp_path / "none.env").read()
    assert "0600" in str(told.value.hint)
