"""The router's map files: which token counts, green's weight and the hold under it (`router.map`), and the nonce that
our probes carry, by token (`nonce.map`; a file of its own because HAProxy wants every value of the first to be a
number).

Weights and holds are keyed by token (`weight_17 100`), so a worker whose token is stale changes a key that nobody
reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from backstay.ports.router import Hold

NOBODY: Final = 100
"""Green's weight before anything ever served: all traffic goes to green, which is empty and answers 503."""

MODES: Final = {Hold.WRITES: 1, Hold.ALL: 2, Hold.PAGE: 3}
"""How a hold is written; 0, or nothing, is none."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`green` is green's share in percent; blue has the rest. Held requests wait until `until` (seconds since the
    epoch), then get the maintenance page."""

    token: int
    green: int
    held: Hold | None = None
    until: int = 0

    @property
    def weight_key(self) -> str:
        return f"weight_{self.token}"

    @property
    def entries(self) -> list[tuple[str, int]]:
        """Keys and values, in the order in which a running router must learn them: the token comes last."""
        mode = MODES[self.held] if self.held else 0
        return [
            (self.weight_key, self.green),
            (f"until_{self.token}", self.until),
            (f"hold_{self.token}", mode),
            ("token", self.token),
        ]

    def under(self, token: int) -> Weights:
        """The same under another token."""
        return replace(self, token=token)


def compose(weights: Weights) -> str:
    """The text of `router.map`."""
    return "".join(f"{key} {value}\n" for key, value in reversed(weights.entries))


def parse(text: str) -> Weights | None:
    """What a map file, or the answer to `show map`, says; None when it names no token."""
    entries = _entries(text)
    token = entries.get("token", "")
    if not token.isdigit():
        return None
    mode = _number(entries, f"hold_{token}")
    return Weights(
        int(token),
        _number(entries, f"weight_{token}"),
        next((hold for hold, number in MODES.items() if number == mode), None),
        _number(entries, f"until_{token}"),
    )


def has(text: str, key: str) -> bool:
    """Whether the answer to `show map` has an entry for `key`."""
    return key in _entries(text)


def stale_keys(text: str, *tokens: int) -> list[str]:
    """Keys in the answer to `show map` that belong to none of `tokens`."""
    fresh = {key for token in tokens for key, _ in Weights(token, 0).entries}
    return [key for key in _entries(text) if key not in fresh]


def _number(entries: Mapping[str, str], key: str) -> int:
    value = entries.get(key, "")
    return int(value) if value.isdigit() else 0


def _entries(text: str) -> Mapping[str, str]:
    """Key to value. `show map` puts a pointer (0x…) before each line."""
    entries = {}
    for line in text.splitlines():
        words = line.split()
        if words and words[0].startswith("0x"):
            words = words[1:]
        if len(words) == 2:
            entries[words[0]] = words[1]
    return entries
