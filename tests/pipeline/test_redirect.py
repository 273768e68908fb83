"""The URL that an application is given in place of its own."""

from __future__ import annotations

from backstay.domain.secret import Secret
from backstay.pipeline.redirect import database_of, redirected, role_of

SCRATCH = Secret("postgresql://shop:s%40w@172.30.0.1:40123/shop")


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
