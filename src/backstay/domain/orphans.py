"""Which containers of an environment nobody owns any more. Pure.

A container's labels tell its birth. Who owns it now is told by the slots and by whether its deployment is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from backstay.domain.slot import Slots, unreferenced

CHECK: Final = "check"
"""The role of a container that asks on behalf of a check, which may be one outside any deployment."""

ON_THEIR_OWN: Final = frozenset({"rehearsal", "scratch"})
"""Roles of containers that live beside the deployments, and are swept when their own owner died."""

CHECK_LASTS_S: Final = 300.0
"""No check takes nearly as long; a container of one that is older was left behind."""


@dataclass(frozen=True, slots=True)
class Born:
    """A container of the environment as its labels tell it. `age_s` counts from its start; None: it never started.

    `deployment` and `token` are None where a label is missing or makes no sense.
    """

    id: str
    deployment: str | None
    token: int | None
    role: str | None = None
    age_s: float | None = None


def orphans(
    born: Iterable[Born], slots: Slots, ended: Mapping[str, bool], token: int, current: str | None
) -> frozenset[str]:
    """Ids of those that may be removed by who holds the lease under `token`.

    `ended` tells of each known deployment whether it is over; `current` is the one that is under way. What a slot
    refers to stays, and so does what belongs to a newer token, whose owner knows more than we. Of a deployment that
    is not on record nothing is removed while nothing is live here: the records may have been lost, and not it.
    """
    candidates = {each.id: each for each in born}
    return frozenset(
        id_
        for id_ in unreferenced(candidates, slots)
        if _is_orphan(candidates[id_], slots, ended, token, current)
    )


def _is_orphan(each: Born, slots: Slots, ended: Mapping[str, bool], token: int, current: str | None) -> bool:
    if each.role in ON_THEIR_OWN:
        return False
    if each.role == CHECK and each.deployment not in ended:
        return each.age_s is not None and each.age_s > CHECK_LASTS_S
    if each.deployment is None or each.deployment == current:
        return False
    if each.token is not None and each.token > token:
        return False
    return ended.get(each.deployment, slots.live is not None)
