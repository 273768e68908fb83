"""Where scratch servers come from."""

from __future__ import annotations

import pytest

from backstay.domain.scratch import Source, Where


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
