"""A folder with a good configuration and a state folder of its own, and the command line run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backstay.cli.main import main
from tests.config.samples import GOOD, written

SECRETS = "DATABASE_URL=postgresql://shop:hunter2secret@127.0.0.1:1/shop\n"


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


Backstay = Callable[..., Outcome]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with backstay.yml and secrets; no engine answers and no state exists yet."""
    work = tmp_path / "work"
    work.mkdir()
    written(work, GOOD)
    for name in ("dev.env", "prod.env"):
        (work / name).touch(mode=0o600)
        (work / name).write_text(SECRETS)
    monkeypatch.chdir(work)
    monkeypatch.setenv("BACKSTAY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BACKSTAY_STORE", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'no-engine.sock'}")
    return work


@pytest.fixture
def home(folder: Path) -> Path:
    """The state folder; nothing made it yet."""
    return folder.parent / "home"


@pytest.fixture
def backstay(folder: Path, capfd: pytest.CaptureFixture[str]) -> Backstay:
    def run(*args: str) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(args)
        said = capfd.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, said.out, said.err)

    return run
