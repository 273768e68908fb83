"""What a check asks of the router before there is one; nothing is made by asking."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from backstay.adapters.haproxy import HaproxyRouter
from backstay.domain.environment import Bind
from backstay.errors import RouterError


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str | None) -> None:
    """Make `haproxy` a program that says so; None: one that is not there."""
    path = folder / "haproxy"
    if says is not None:
        path.write_text(f"#!/bin/sh\necho '{says}'\n")
        path.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(path))


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("HAProxy version 2.6.12-1+deb12u2 2024/01/01 - https://haproxy.org/ +LUA", "2.6.12"),
        ("HAProxy version 3.0.5 2024/09/19 +LUA", "3.0.5"),
        ("HAProxy version 2.10-dev1 2024/09/19 -LUA51 +LUA", "2.10"),
    ],
)
def test_a_version_that_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, version: str
) -> None:
    installed(tmp_path, monkeypatch, says)
    assert HaproxyRouter(tmp_path / "r", "shop", "dev").version() == version


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("HA-Proxy version 1.8.27 2020/11/06", "2.6 or newer is needed"),
        ("HAProxy version 2.4.0", "2.6 or newer is needed"),
        ("HAProxy version 2.6.12 2024/01/01 -LUA", "without Lua"),
        ("nonsense", "2.6 or newer is needed"),
        (None, "not installed"),
    ],
)
def test_none_or_one_too_old_is_told_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, words: str
) -> None:
    installed(tmp_path, monkeypatch, says)
    with pytest.raises(RouterError, match=words) as caught:
        HaproxyRouter(tmp_path / "r", "shop", "dev").version()
    assert caught.value.hint and "apt-get install haproxy" in caught.value.hint


def test_a_taken_address_is_named_with_its_owner_and_a_free_one_is_not(tmp_path: Path) -> None:
    router = HaproxyRouter(tmp_path / "r", "shop", "dev")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RouterError, match=f"port {port} .* is taken by .* {os.getpid()}"):
            router.refuse_taken((Bind("127.0.0.1", port),))
    router.refuse_taken((Bind("127.0.0.1", port),))
    assert not (tmp_path / "r").exists()


def test_an_address_that_is_not_of_this_host_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match=r"192\.0\.2\.1 is no address of this host") as caught:
        HaproxyRouter(tmp_path / "r", "shop", "dev").refuse_taken((Bind("192.0.2.1", 8080),))
    assert "ip address" in str(caught.value.hint)
