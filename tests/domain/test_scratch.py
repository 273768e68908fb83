"""Where scratch servers come from, and the URL an application is given in place of its own."""

from __future__ import annotations

import pytest

from backstay.domain.scratch import Source, Where, database_of, redirected, role_of
from backstay.domain.secret import Secret

SCRATCH = Secret("postgresql://shop:s%40w@172.30.0.1:40123/shop")


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("auto", Where(Source.AUTO)),
        ("container:postgres:15", Where(Source.CONTAINER, "postgres:15")),
        ("container:registry.example:5000/pg@sha256:ab", Where(Source.CONTAINER, "registry.example:5000/pg@sha256:ab")),
        ("url:SCRATCH_URL", Where(Source.URL, "SCRATCH_URL")),
    ],
)  # fmt: skip
def test_the_three_places(written: str, where: Where) -> None:
    assert Where.parse(written) == where
    assert str(where) == written


@pytest.mark.parametrize(
    "written", ["", "container", "container:", "url:", "url://host", "postgresql://u:p@h/d"]
)
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="none of auto"):
        Where.parse(written)


def test_the_driver_and_harmless_options_stay_and_the_way_to_the_old_server_goes() -> None:
    live = Secret(
        "postgresql+psycopg://shop:old@db.internal:6432/shop?sslmode=verify-full&application_name=web&port=1"
    )
    assert redirected(live, SCRATCH).reveal() == (
        "postgresql+psycopg://shop:s%40w@172.30.0.1:40123/shop?application_name=web"
    )


def test_database_and_role_of_a_url() -> None:
    live = Secret("postgres://an%20n:x@h/my%2Fdb?x=1")
    assert (database_of(live), role_of(live)) == ("my/db", "an n")
    assert (database_of(Secret("postgres://h")), role_of(Secret("postgres://h"))) == ("", "")
