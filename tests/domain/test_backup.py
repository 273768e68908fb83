"""Names of backups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from backstay.domain.backup import backup_id

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))


def test_it_is_application_environment_and_time_down_to_the_millisecond() -> None:
    at = datetime(2026, 3, 1, 9, 5, 7, 123987, tzinfo=UTC)
    assert backup_id("shop", "prod", at) == "shop_prod_20260301_090507123"


def test_it_is_in_utc_whatever_the_zone() -> None:
    at = datetime(2026, 3, 1, 0, 30, 0, tzinfo=timezone(timedelta(hours=2)))
    assert backup_id("shop", "prod", at) == "shop_prod_20260228_223000000"


def test_milliseconds_keep_their_zeros() -> None:
    at = datetime(2026, 3, 1, 9, 5, 7, 4000, tzinfo=UTC)
    assert backup_id("shop", "prod", at).endswith("_090507004")


@given(TIMES, TIMES)
def test_names_sort_as_their_times_do(one: datetime, two: datetime) -> None:
    first, second = sorted((one, two))
    assert backup_id("shop", "prod", first) <= backup_id("shop", "prod", second)


@given(TIMES)
def test_a_millisecond_later_is_another_name(at: datetime) -> None:
    later = at + timedelta(milliseconds=1)
    assert backup_id("shop", "prod", at) != backup_id("shop", "prod", later)
