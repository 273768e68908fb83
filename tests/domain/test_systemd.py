"""systemd: cron expressions as OnCalendar, and words of a command line."""

from __future__ import annotations

import pytest

from backstay.domain.systemd import filled, on_calendar, quoted, timer


@pytest.mark.parametrize(
    ("cron", "lines"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00 UTC"]),
        ("30 */6 * * *", ["*-*-* 00,06,12,18:30:00 UTC"]),
        ("*/20 1-3 * * *", ["*-*-* 01,02,03:00,20,40:00 UTC"]),
        ("0 4 1 * *", ["*-*-01 04:00:00 UTC"]),
        ("0 4 1 1,7 *", ["*-01,07-01 04:00:00 UTC"]),
        ("0 4 * jan-mar *", ["*-01,02,03-* 04:00:00 UTC"]),
        ("5 4 * * 0", ["Sun *-*-* 04:05:00 UTC"]),
        ("5 4 * * 7", ["Sun *-*-* 04:05:00 UTC"]),
        ("5 4 * * mon-fri", ["Mon,Tue,Wed,Thu,Fri *-*-* 04:05:00 UTC"]),
        ("0 0 13 * 5", ["*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC"]),
        ("10/15 * * * *", ["*-*-* *:10,25,40,55:00 UTC"]),
    ],
)
def test_cron_in_the_words_of_on_calendar(cron: str, lines: list[str]) -> None:
    assert list(on_calendar(cron)) == lines


@pytest.mark.parametrize("cron", ["0 4 L * *", "0 4 * * 1#2", "0 4 15W * *"])
def test_what_cannot_be_said_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="OnCalendar cannot say"):
        on_calendar(cron)


def test_a_timer_may_follow_its_last_run_besides() -> None:
    template = "# @WHAT@\n[Timer]\n@WHEN@\n"
    assert timer(template, "back up", "0 2 * * *") == "# back up\n[Timer]\nOnCalendar=*-*-* 02:00:00 UTC\n"
    assert timer(template, "back up", "0 2 * * *", 675.0).splitlines()[2:] == [
        "OnCalendar=*-*-* 02:00:00 UTC", "OnBootSec=5min", "OnUnitActiveSec=675s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "written"),
    [("/usr/bin/backstay", "/usr/bin/backstay"), ("a b", '"a b"'), ("50%", "50%%"), ("$HOME", "$$HOME"),
     ('say "hi"', '"say \\"hi\\""')],
)  # fmt: skip
def test_words_of_a_command_line(word: str, written: str) -> None:
    assert quoted([word, "x"]) == f"{written} x"


def test_templates_are_filled_everywhere() -> None:
    assert filled("@A@ and @A@, not @B@", {"A": "x"}) == "x and x, not @B@"
