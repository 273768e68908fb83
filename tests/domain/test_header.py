"""Names of headers are equal whatever their case."""

from __future__ import annotations

from backstay.domain.header import equal_names, joined


def test_the_last_of_equal_headers_stays_as_it_is_written() -> None:
    assert joined({"Host": "127.0.0.1", "X-A": "1"}, {"host": "shop.example"}) == {
        "X-A": "1",
        "host": "shop.example",
    }
    assert joined({"Host": "a", "HOST": "b"}) == {"HOST": "b"}
    assert joined({"Host": "a"}, {}, {"X-B": "2"}) == {"Host": "a", "X-B": "2"}
    assert joined() == {}


def test_what_was_there_already_is_named() -> None:
    assert equal_names(["Host", "X-A", "host", "HOST"]) == {"host": "Host", "HOST": "Host"}
    assert equal_names(["Host", "X-A"]) == {}
