"""Wrong arguments and wrong configurations: exit status 2, what is wrong, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Backstay

WRONG_LINES = [
    "deploy",
    "deploy dev",
    "deploy dev --version",
    "deploy dev --version v1 --wait forever",
    "deploy dev --version v1 --nonsense",
    "deploy dev extra --version v1",
    "plan dev",
    "rollback",
    "rollback dev backend extra",
    "abort",
    "attach",
    "history",
    "history dev --limit 0",
    "history dev --limit many",
    "show",
    "events",
    "config",
    "config nothing",
    "config show",
    "lock",
    "lock show",
    "lock acquire",
    "lock acquire dev prod",
    "lock release",
    "--nonsense",
    "nothing",
]


@pytest.mark.parametrize("line", WRONG_LINES)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_line_is_2_and_leaves_standard_output_to_documents(
    backstay: Backstay, home: Path, line: str, as_json: bool
) -> None:
    done = backstay(*(["--json"] if as_json else []), *line.split())
    assert done.status == 2
    if as_json:
        document = done.document
        assert (document["ok"], document["exit_status"]) == (False, 2)
        assert document["reason"] and "--help" in document["hint"]
    else:
        assert done.out == ""
    assert ("Error: " in done.err or "Commands:" in done.err) and "Traceback" not in done.err
    assert not home.exists()


@pytest.mark.parametrize(
    ("word", "meant"), [("deplyo", "deploy"), ("rolback", "rollback"), ("stats", "status"), ("hist", None)]
)
def test_a_mistyped_command_is_met_with_a_suggestion(
    backstay: Backstay, word: str, meant: str | None
) -> None:
    done = backstay(word, "dev")
    assert done.status == 2
    assert f"No such command '{word}'." in done.err
    assert (f"Did you mean '{meant}'?" in done.err) == (meant is not None)


ENVIRONMENT_COMMANDS = [
    "deploy nowhere --version v1",
    "deploy nowhere --version v1 --dry-run",
    "plan nowhere --version v1",
    "rollback nowhere",
    "rollback nowhere --dry-run",
    "status nowhere",
    "attach nowhere",
    "abort nowhere",
    "history nowhere",
    "lock show nowhere",
    "lock acquire nowhere",
    "lock release nowhere",
    "config show nowhere",
]


@pytest.mark.parametrize("line", ENVIRONMENT_COMMANDS)
def test_an_unknown_environment(backstay: Backstay, folder: Path, home: Path, line: str) -> None:
    done = backstay(*line.split())
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines() == [
        "error: unknown environment 'nowhere'",
        f"next:  {folder / 'backstay.yml'} has: dev, prod",
    ]
    assert not home.exists()


@pytest.mark.parametrize("line", ENVIRONMENT_COMMANDS)
def test_the_same_as_json_is_one_document(backstay: Backstay, line: str) -> None:
    document = backstay(*line.split(), "--json").document
    assert document["ok"] is False and document["exit_status"] == 2
    assert document["reason"] == "unknown environment 'nowhere'" and "dev, prod" in document["hint"]


@pytest.mark.parametrize("line", ["plan dev --version v1", "deploy dev --version v1 --dry-run"])
def test_an_unknown_component(backstay: Backstay, home: Path, line: str) -> None:
    done = backstay(*line.split(), "--component", "fronted")
    assert done.status == 2
    assert "error: unknown component 'fronted'" in done.err
    assert "next:  there are: backend, frontend" in done.err
    assert not home.exists()


@pytest.mark.parametrize("line", ["show d9", "events d9", "events d9 --follow"])
def test_an_unknown_deployment(backstay: Backstay, home: Path, line: str) -> None:
    done = backstay(*line.split())
    assert done.status == 2
    assert "error: there is no deployment 'd9'" in done.err and "next:" in done.err
    assert not home.exists()


@pytest.mark.parametrize("line", ["attach dev", "abort dev", "rollback dev", "rollback dev --dry-run"])
def test_with_nothing_there_to_act_on(backstay: Backstay, line: str) -> None:
    done = backstay(*line.split())
    assert done.status == 2
    assert "error: nothing is" in done.err and "next:  backstay history dev" in done.err


CONFIGURED = [
    "status",
    "status dev",
    "history dev",
    "show d1",
    "events d1",
    "config check",
    "plan dev --version v1",
]


@pytest.mark.parametrize("line", CONFIGURED)
def test_without_a_configuration(backstay: Backstay, folder: Path, home: Path, line: str) -> None:
    (folder / "backstay.yml").unlink()
    done = backstay(*line.split())
    assert done.status == 2
    assert f"error: no backstay.yml in {folder} or any folder above it" in done.err
    assert "--config FILE" in done.err
    assert not home.exists()


def test_a_configuration_named_otherwise_is_recognised(backstay: Backstay, folder: Path) -> None:
    (folder / "backstay.yml").rename(folder / "backstay.yaml")
    assert f"next:  rename {folder / 'backstay.yaml'} to backstay.yml" in backstay("status").err


@pytest.mark.parametrize("line", CONFIGURED)
def test_a_configuration_that_is_not_there(backstay: Backstay, line: str) -> None:
    done = backstay("--config", "other.yml", *line.split())
    assert done.status == 2
    assert "other.yml: cannot be read: No such file or directory" in done.err


@pytest.mark.parametrize("line", [*CONFIGURED, "lock show dev", "notify dev success all done"])
def test_a_configuration_without_a_name_is_not_taken_for_none(backstay: Backstay, line: str) -> None:
    """As from a variable that a script forgot to set."""
    done = backstay("--config", "", *line.split())
    assert done.status == 2 and "Invalid value for '--config': must not be empty" in done.err


EMPTY = [
    ("notify", "dev", "", "all", "done"),
    ("notify", "dev", "success", " ", "done"),
    ("notify", "dev", "success", "all", ""),
    ("deploy", "dev", "--version", "v1", "--unused", ""),
    ("rehearse", "dev", "--version", "v1", "--unused", " "),
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_what_must_say_something_may_not_be_empty(
    backstay: Backstay, home: Path, words: tuple[str, ...]
) -> None:
    done = backstay(*words)
    assert done.status == 2 and "must not be empty" in done.err
    assert not home.exists()


@pytest.mark.parametrize("line", ["status", "history dev", "config check", "notifications list"])
def test_half_a_character_is_a_fault_of_the_file(backstay: Backstay, folder: Path, line: str) -> None:
    path = folder / "backstay.yml"
    path.write_text(path.read_text().replace("app: shop", r'app: "\ud800"', 1))
    done = backstay(*line.split(), "--json")
    assert done.status == 2 and done.document["ok"] is False
    assert "half a character" in backstay(*line.split()).err


def test_half_a_character_in_the_name_of_an_environment_hides_no_other(
    backstay: Backstay, folder: Path
) -> None:
    path = folder / "backstay.yml"
    path.write_text(path.read_text().replace("  dev:", r'  "d\ud800v":', 1))
    assert [row["environment"] for row in backstay("status", "--json").document] == ["prod"]
    assert "half a character" in backstay("config", "check").err


def test_it_is_searched_upwards(backstay: Backstay, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    done = backstay("config", "check")
    assert done.status == 0 and f"{folder / 'backstay.yml'}: ok" in done.err


def test_faults_are_told_with_line_and_key(backstay: Backstay, folder: Path) -> None:
    path = folder / "backstay.yml"
    path.write_text(path.read_text().replace("port: 80}", "port: 99999, prot: 1}"))
    done = backstay("config", "check")
    assert done.status == 2
    assert "backstay.yml:11" in done.err and "components.frontend.port" in done.err
    assert "components.frontend.prot" in done.err and "port" in done.err
    document = backstay("config", "check", "--json").document
    assert document["ok"] is False
    assert {check["line"] for check in document["checks"] if not check["ok"]} == {11}
    planned = backstay("plan", "dev", "--version", "v1")
    assert planned.status == 2 and "backstay.yml:11" in planned.err


JSON_AT = ["--json config show dev", "config show dev --json", "config show --json dev"]


@pytest.mark.parametrize("line", JSON_AT)
def test_options_may_stand_before_and_after_the_command(backstay: Backstay, line: str) -> None:
    rows = backstay(*line.split()).document
    assert {"key": "app", "value": "shop", "source": "backstay.yml:1"} in rows


@pytest.mark.parametrize("before", [True, False])
def test_a_configuration_may_be_named_before_and_after(
    backstay: Backstay, folder: Path, before: bool
) -> None:
    (folder / "backstay.yml").rename(folder / "other.yml")
    option, words = ["--config", "other.yml"], ["history", "dev"]
    done = backstay(*(option + words if before else words + option))
    assert done.status == 0 and "nothing was deployed to dev yet" in done.err


def test_the_later_of_two_counts(backstay: Backstay, folder: Path) -> None:
    (folder / "backstay.yml").rename(folder / "other.yml")
    done = backstay("--config", "nothing.yml", "history", "dev", "--config", "other.yml")
    assert done.status == 0


def test_lists_are_json_even_when_empty(backstay: Backstay) -> None:
    assert backstay("history", "dev", "--json").document == []
    assert [d["environment"] for d in backstay("status", "--json").document] == ["dev", "prod"]


def test_the_schema_is_json_with_and_without_asking(backstay: Backstay) -> None:
    assert backstay("config", "schema").document == backstay("config", "schema", "--json").document
    assert json.dumps(backstay("config", "schema").document).count("additionalProperties") > 3


@pytest.mark.parametrize("store", ["mysql://u:hidden@db/state", "postgresql+psycopg://u:hid/den@db/state"])
def test_a_store_that_can_be_none_is_refused_and_not_shown(
    backstay: Backstay, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.setenv("BACKSTAY_STORE", store)
    done = backstay("history", "dev")
    assert done.status == 2 and "postgresql+psycopg://" in done.err and "hid" not in done.err


def test_a_store_that_does_not_answer_is_named_without_its_password(
    backstay: Backstay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.adapters.store.server.reading.OPENING_S", 0.0)
    monkeypatch.setenv("BACKSTAY_STORE", "postgresql+psycopg://u:hidden@127.0.0.1:1/state")
    done = backstay("history", "dev")
    assert (
        done.status == 20
        and "the state store state at 127.0.0.1:1 cannot be read: nothing listens" in done.err
    )
    assert "is the server running" in done.err and "hidden" not in done.err
