"""Values that must never be printed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NoReturn

MASK: Final = "[redacted]"
SHORTEST_REDACTED: Final = 4


class Secret:
    """A value that shows itself only when asked by `reveal()`.

    `repr`, `str`, `format` and every serialiser see a mask, so a secret that reaches a log, an event or a
    traceback by mistake says nothing.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; the caller now carries the duty not to print it."""
        return self._value

    def fingerprint(self) -> str:
        """Twelve hex digits that tell whether the value changed, and nothing else that matters."""
        return hashlib.sha256(b"backstay-secret\0" + self._value.encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """`text` with every secret value replaced by a mask.

    Values shorter than four characters are left alone: masking every "1" would hide the message, and such a
    value protects nothing. Longer values first, so that one that contains another disappears whole.
    """
    values = {s.reveal() for s in secrets if len(s.reveal()) >= SHORTEST_REDACTED}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return text
