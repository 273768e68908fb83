"""What is told and makes no difference."""

from __future__ import annotations

from backstay.domain.backup import BackupState
from backstay.domain.content import VERSIONS, Content, differences, notes
from backstay.domain.verification import compared


def with_extensions(*versions: str) -> Content:
    return Content({}, {"extensions": tuple(line.split()[0] for line in versions), VERSIONS: versions})


def test_another_version_of_an_extension_is_told_and_one_that_is_missing_is_a_difference() -> None:
    expected = with_extensions("pg_trgm 1.5", "plpgsql 1.0")
    found = with_extensions("pg_trgm 1.6", "plpgsql 1.0")
    assert differences(expected, found) == ()
    proof = compared("b", expected, found, with_owners=True, took_s=0.0)
    assert proof.state is BackupState.VERIFIED
    assert proof.notes == ("the extension pg_trgm is of version 1.6 there, and was of 1.5",)
    assert differences(expected, with_extensions("plpgsql 1.0")) == ("extensions: missing pg_trgm",)


def test_a_content_that_knows_of_no_versions_is_compared_all_the_same() -> None:
    old = Content({}, {"extensions": ("pg_trgm 1.5",)})
    assert notes(old, with_extensions("pg_trgm 1.6")) == ()
    assert differences(old, with_extensions("pg_trgm 1.6"))
