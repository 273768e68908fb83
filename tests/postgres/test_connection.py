"""A database URL becomes environment and passfile; the password is in neither the environment nor any argument."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.adapters.postgres.connection import conninfo, environment, password
from backstay.domain.secret import Secret
from backstay.errors import DatabaseError
from backstay.ports.database import MalformedUrl

PASSWORD = "p@ss:w/o\\rd %#?"


def url(password: str = PASSWORD, rest: str = "db.example:6543/shop") -> Secret:
    return Secret(f"postgresql://u%40ser:{quote(password, safe='')}@{rest}")


def test_the_parts_of_a_url() -> None:
    with environment(url()) as env:
        assert env["PGHOST"] == "db.example"
        assert env["PGPORT"] == "6543"
        assert env["PGDATABASE"] == "shop"
        assert env["PGUSER"] == "u@ser"
        assert env["PGAPPNAME"] == "backstay"
        assert env["PGCONNECT_TIMEOUT"] == "10"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRESQL"])
def test_schemes_and_the_default_port(scheme: str) -> None:
    with environment(Secret(f"{scheme}://db/shop")) as env:
        assert env["PGPORT"] == "5432"
        assert "PGUSER" not in env and "PGPASSFILE" not in env


def test_settings_in_the_query_and_a_name_with_odd_characters() -> None:
    with environment(url(rest="db/my%20shop?sslmode=verify-full&connect_timeout=3&pool=5&schema=x")) as env:
        assert env["PGSSLMODE"] == "verify-full"
        assert env["PGCONNECT_TIMEOUT"] == "3"
        assert env["PGDATABASE"] == "my shop"
        assert not {"pool", "schema"} & {word.lower() for word in env}
    with environment(
        url(rest="db/shop?channel_binding=require&target_session_attrs=read-write&ssl=true")
    ) as env:
        assert env["PGCHANNELBINDING"] == "require" and env["PGTARGETSESSIONATTRS"] == "read-write"
        assert env["PGSSLMODE"] == "require"


def test_user_and_password_in_the_query_and_a_plus_that_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Secret("postgresql://db/shop?user=bo%40b&password=s3%20c+ret&host=/run/pg+1")
    monkeypatch.setenv("DATABASE_URL", given.reveal())
    with environment(given) as env:
        assert (env["PGUSER"], env["PGHOST"]) == ("bo@b", "/run/pg+1")
        assert Path(env["PGPASSFILE"]).read_text() == "*:*:*:*:s3 c+ret\n"
        assert not any("ret" in value for value in env.values())
    assert password(given).reveal() == "s3 c+ret"


@pytest.mark.parametrize("key", ["sslpassword", "dbname", "service"])
def test_what_cannot_be_handed_on_is_refused_by_its_name(key: str) -> None:
    """Left out it would lead elsewhere, or less safely."""
    given = url(rest=f"db/shop?sslmode=require&{key}=h1dden")
    with pytest.raises(MalformedUrl, match=f"says '{key}'") as refused, environment(given):
        pass
    assert "h1dden" not in str(refused.value) and refused.value.hint


def test_a_name_of_a_database_is_no_connection_string() -> None:
    assert conninfo("a=b c'\\") == "dbname='a=b c\\'\\\\'"


def test_a_socket_folder_by_query_and_by_host() -> None:
    with environment(Secret("postgresql:///shop?host=/var/run/postgresql")) as env:
        assert env["PGHOST"] == "/var/run/postgresql"
    with environment(Secret("postgresql://u:p@%2FVar%2Frun/shop")) as env:
        assert env["PGHOST"] == "/Var/run"


def test_an_address_of_version_6() -> None:
    with environment(Secret("postgresql://u@[::1]:5433/shop")) as env:
        assert (env["PGHOST"], env["PGPORT"]) == ("::1", "5433")


def test_the_password_is_in_a_passfile_for_the_owner_alone_and_goes_with_the_block() -> None:
    with environment(url()) as env:
        passfile = Path(env["PGPASSFILE"])
        assert passfile.read_text() == "*:*:*:*:p@ss\\:w/o\\\\rd %#?\n"
        assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
        assert stat.S_IMODE(passfile.parent.stat().st_mode) & 0o077 == 0
        assert not any(PASSWORD in value or quote(PASSWORD, safe="") in value for value in env.values())
    assert not passfile.exists()


def test_it_is_on_no_disk_so_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    killed = (
        "import os\n"
        "from backstay.adapters.postgres.connection import environment\n"
        "from backstay.domain.secret import Secret\n"
        "with environment(Secret(os.environ.pop('URL'))) as env:\n"
        "    open(env['PGPASSFILE']).read(1)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path), "URL": url().reveal()}
    ended = subprocess.run([sys.executable, "-c", killed], env=env, capture_output=True)
    assert ended.returncode == -9, ended.stderr
    assert not list(tmp_path.iterdir())


def test_it_goes_when_the_block_fails() -> None:
    with pytest.raises(RuntimeError), environment(url()) as env:
        passfile = Path(env["PGPASSFILE"])
        raise RuntimeError
    assert not passfile.exists()


def test_settings_of_this_shell_do_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPASSWORD", "PGSERVICE", "PGOPTIONS"):
        monkeypatch.setenv(name, "of-the-shell")
    monkeypatch.setenv("KEPT", "1")
    with environment(Secret("postgresql://db/shop")) as env:
        assert "of-the-shell" not in env.values()
        assert env["KEPT"] == "1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "mysql://u:hidden@db/shop",
        "postgresql://u:hidden@db",
        "postgresql://u:hidden@db/",
        "postgresql://u:hidden@db:port/shop",
        "postgresql://u:hidden@db:99999/shop",
        "postgresql://u:hidden@[::1/shop",
        "host=db user=u password=hidden dbname=shop",
    ],
)
def test_anything_else_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(DatabaseError, match="not of the form") as refused, environment(Secret(text)):
        pass
    assert "hidden" not in str(refused.value) and refused.value.hint


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12))
def test_every_password_comes_back_as_libpq_reads_it(password: str) -> None:
    with environment(url(password)) as env:
        line = Path(env["PGPASSFILE"]).read_text(encoding="utf-8").removesuffix("\n")
    field, escaped = "", False
    for character in line.removeprefix("*:*:*:*:"):
        if character == "\\" and not escaped:
            escaped = True
            continue
        assert escaped or character != ":", "an unescaped colon ends the field"
        field, escaped = field + character, False
    assert field == password
