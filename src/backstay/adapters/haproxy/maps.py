"""The router's map files: which token counts, green's weight under it (`router.map`), and the nonce that our probes
carry, by token (`nonce.map`; a file of its own because HAProxy wants every value of the first to be a number).

Weights are keyed by token (`weight_17 100`), so a worker whose token is stale changes a key that nobody reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOBODY = 100
"""Green's weight before anything ever served: all traffic goes to green, which is empty and answers 503."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`green` is green's share in percent; blue has the rest."""

    token: int
    green: int

    @property
    def weight_key(self) -> str:
        return f"weight_{self.token}"


def compose(weights: Weights) -> str:
    """The text of `router.map`."""
    return f"token {weights.token}\n{weights.weight_key} {weights.green}\n"


def parse(text: str) -> Weights | None:
    """What a map file, or the answer to `show map`, says; None when it names no token."""
    entries = _entries(text)
    token = entries.get("token", "")
    if not token.isdigit():
        return None
    green = entries.get(f"weight_{token}", "0")
    return Weights(int(token), int(green) if green.isdigit() else 0)


def stale_keys(text: str, *tokens: int) -> list[str]:
    """Keys in the answer to `show map` that belong to none of `tokens`."""
    fresh = {"token", *(f"weight_{token}" for token in tokens)}
    return [key for key in _entries(text) if key not in fresh]


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
