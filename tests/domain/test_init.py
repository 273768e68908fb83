"""What becomes of a file that `init` wants to write."""

from __future__ import annotations

import pytest

from backstay.domain.init import Fate, Wanted, fate

WANTED = Wanted(".github/scripts/a.sh", b"#!/bin/sh\n", 0o755)


@pytest.mark.parametrize(
    ("existing", "force", "becomes"),
    [
        (None, False, Fate.WRITTEN),
        (None, True, Fate.WRITTEN),
        (b"#!/bin/sh\n", False, Fate.UNCHANGED),
        (b"#!/bin/sh\n", True, Fate.UNCHANGED),
        (b"#!/bin/sh\n# mine\n", False, Fate.REFUSED),
        (b"#!/bin/sh\n# mine\n", True, Fate.REPLACED),
        (b"", False, Fate.REFUSED),
    ],
)
def test_what_somebody_changed_is_replaced_only_by_force(
    existing: bytes | None, force: bool, becomes: Fate
) -> None:
    assert fate(WANTED, existing, force=force) is becomes
