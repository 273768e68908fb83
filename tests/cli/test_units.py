"""`init --systemd`: units that systemd itself finds nothing wrong with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Backstay

# `./dev test` installs it as root; CI must have it.
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "BACKSTAY_REQUIRE_WORLD" not in os.environ,
    reason="there is no systemd-analyze here",
)


def verified(folder: Path) -> str:
    """What systemd-analyze says about all units in a folder, the empty text when it is content."""
    files = sorted(folder.iterdir())
    # A template is verified by one of its instances.
    names = [str(folder / path.name.replace("@.", "@dev.")) for path in files]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False,
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "backstay" in line]
    assert done.returncode == 0 or not ours, done.stderr
    return "\n".join(ours)


def test_by_default_serve_and_recovery_go_to_standard_output(backstay: Backstay, folder: Path) -> None:
    outcome = backstay("init", "--systemd")
    assert outcome.status == 0
    assert "# ---- backstay-serve.service" in outcome.out and "# ---- backstay-recover.service" in outcome.out
    assert f" serve --config {folder / 'backstay.yml'}" in outcome.out
    assert f"Environment=BACKSTAY_HOME={folder.parent / 'home'}" in outcome.out
    assert "systemctl enable --now backstay-recover.service backstay-serve.service" in outcome.err
    assert sorted(path.name for path in folder.iterdir()) == ["backstay.yml", "dev.env", "prod.env"]


def test_timers_in_place_of_the_daemon(backstay: Backstay, folder: Path) -> None:
    outcome = backstay("init", "--systemd", "--timers", "--dir", "units", "--json")
    assert outcome.status == 0
    names = sorted(path.name for path in (folder / "units").iterdir())
    assert names == sorted(Path(file["path"]).name for file in outcome.document["files"]) == [
        "backstay-backup@.service", "backstay-backup@dev.timer", "backstay-backup@prod.timer",
        "backstay-drill@.service", "backstay-drill@dev.timer", "backstay-drill@prod.timer",
        "backstay-recover.service",
    ]  # fmt: skip
    timer = (folder / "units" / "backstay-backup@prod.timer").read_text()
    assert "OnCalendar=*-*-* 02:00:00 UTC\n" in timer and "Persistent=true" in timer
    assert "OnUnitActiveSec=675s" in timer, "three quarters of an RPO of 15 minutes"


@needs_systemd
@pytest.mark.parametrize("kind", [[], ["--timers"]])
def test_systemd_finds_nothing_wrong_with_them(backstay: Backstay, folder: Path, kind: list[str]) -> None:
    assert backstay("init", "--systemd", *kind, "--dir", "units").status == 0
    assert verified(folder / "units") == ""


@needs_systemd
def test_a_wrong_unit_would_be_found(backstay: Backstay, folder: Path) -> None:
    """What the test above counts on."""
    backstay("init", "--systemd", "--dir", "units")
    unit = folder / "units" / "backstay-serve.service"
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=sometimes"))
    assert "sometimes" in verified(folder / "units")


@pytest.mark.parametrize("kind", [[], ["--timers"]])
def test_a_folder_that_cannot_be_written_to_is_named_with_what_it_must_be(
    backstay: Backstay, folder: Path, kind: list[str]
) -> None:
    (folder / "units").write_text("a file")
    outcome = backstay("init", "--systemd", *kind, "--dir", "units/below")
    assert outcome.status == 2 and "cannot be written: Not a directory" in outcome.err
    assert "next:  units/below must be a folder that you may write to" in outcome.err


def test_a_schedule_that_no_timer_can_say_names_the_daemon(backstay: Backstay, folder: Path) -> None:
    config = folder / "backstay.yml"
    good = config.read_text()
    config.write_text(
        good.replace("secrets: {file: dev.env}", 'secrets: {file: dev.env}, schedule: {backup: "0 2 L * *"}')
    )
    outcome = backstay("init", "--systemd", "--timers")
    assert outcome.status == 2 and "without --timers" in outcome.err
    assert backstay("init", "--systemd").status == 0


@pytest.mark.parametrize(
    "words", [["--timers"], ["--dir", "x"], ["--systemd", "--github"], ["--systemd", "--app", "x"]]
)
def test_options_that_do_not_go_together(backstay: Backstay, words: list[str]) -> None:
    outcome = backstay("init", *words)
    assert outcome.status == 2 and "next:  backstay init --systemd --timers" in outcome.err
