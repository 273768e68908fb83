"""A secret says nothing on any way out of the program, except to those who ask by `reveal()`."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import string
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.secret import MASK, Secret, redact

VALUE = "hunter2-and-more"
VALUES = st.text(string.ascii_letters + string.digits + ":/@%$ ü", min_size=4, max_size=20)


@dataclass
class Holder:
    """Something with a secret in it, as specifications of containers are."""

    password: Secret


PRINTED: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "format with a width": lambda s: format(s, ">30"),
    "f-string": lambda s: f"{s}",
    "f-string with !r": lambda s: f"{s!r}",
    "f-string with =": lambda s: f"{s=}",
    "percent s": lambda s: "%s" % s,  # noqa: UP031 - this way of printing is the one under test
    "percent r": lambda s: "%r" % s,  # noqa: UP031 - this way of printing is the one under test
    "str.format": lambda s: "{:>20} {!r}".format(s, s),  # noqa: UP032 - this way of printing is under test
    "template": lambda s: string.Template("$it").substitute(it=s),
    "in a list": lambda s: str([s]),
    "in a mapping": lambda s: str({"password": s}),
    "in a dataclass": lambda s: repr(Holder(s)),
    "in an exception": lambda s: repr(ValueError("bad", s)),
    "json by str": lambda s: json.dumps({"password": s}, default=str),
    "its attributes": lambda s: f"{dir(s)} {getattr(s, '__dict__', '')}",
}


@pytest.mark.parametrize("way", PRINTED)
def test_no_way_of_printing_shows_the_value(way: str) -> None:
    shown = PRINTED[way](Secret(VALUE))
    assert VALUE not in shown
    assert way == "its attributes" or MASK in shown


def test_serialisers_refuse() -> None:
    secret = Secret(VALUE)
    for serialise in (json.dumps, pickle.dumps, copy.copy, copy.deepcopy, lambda s: asdict(Holder(s))):
        with pytest.raises(TypeError) as refused:
            serialise(secret)
        assert VALUE not in str(refused.value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)


def test_logging_shows_the_mask(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("signing in with %s and %r", secret, [secret])
    assert VALUE not in caplog.text
    assert caplog.text.count(MASK) == 2


def test_a_traceback_with_its_locals_shows_the_mask() -> None:
    def sign_in(password: Secret) -> None:
        raise ValueError(f"cannot sign in with {password}")

    try:
        sign_in(Secret(VALUE))
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert VALUE not in shown
    assert f"password = {MASK}" in shown


def test_those_who_ask_get_it() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_secrets_compare_by_value_and_with_nothing_else() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert hash(Secret(VALUE)) == hash(Secret(VALUE))
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert bool(Secret(VALUE)) and not Secret("")


def test_a_fingerprint_changes_with_the_value_and_does_not_hold_it() -> None:
    first = Secret(VALUE).fingerprint()
    assert first == Secret(VALUE).fingerprint() != Secret(VALUE + "x").fingerprint()
    assert len(first) == 12 and set(first) <= set("0123456789abcdef")


@given(st.lists(VALUES, max_size=4), st.text(max_size=20), st.text(max_size=20))
def test_redacting_leaves_no_value_of_four_characters_or_more(
    values: list[str], before: str, after: str
) -> None:
    for value in values:
        text = redact(f"{before}{value}{after}", [Secret(v) for v in values])
        assert value not in text.replace(MASK, "\0")


def test_a_value_that_contains_another_disappears_whole() -> None:
    url = "postgresql://u:hunter2@db/shop"
    assert redact(f"cannot reach {url}", [Secret("hunter2"), Secret(url)]) == f"cannot reach {MASK}"


def test_short_values_are_left_alone() -> None:
    assert redact("1 of 1 failed on abc", [Secret("1"), Secret(""), Secret("abc")]) == "1 of 1 failed on abc"


def test_every_occurrence_goes() -> None:
    assert redact("abcd abcd xabcdx", [Secret("abcd")]) == f"{MASK} {MASK} x{MASK}x"
