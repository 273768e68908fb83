"""The rows of the fault matrix, as they were seen in this run. docs/reliability.md shows them with what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.load.report import Report


@dataclass(frozen=True)
class Row:
    """One fault and its outcome. `whole_s` are seconds from the fault until everything was as it should be again,
    `status` is the exit status of the command that it hit or that healed it."""

    fault: str
    requests: int
    failed: int
    bad: int
    whole_s: float | None
    status: int | None
    said: str

    def markdown(self) -> str:
        whole = "-" if self.whole_s is None else f"{self.whole_s:.1f} s"
        status = "-" if self.status is None else str(self.status)
        bad = f" + {self.bad} bad" if self.bad else ""
        return (
            f"| {self.fault} | {self.failed} of {self.requests:,}{bad} | {whole} | {status} | {self.said} |"
        )


ROWS: Final[list[Row]] = []
HEAD: Final = "| fault | failed requests | whole again after | exit status | what a person sees |"
RULE: Final = "| --- | --- | --- | --- | --- |"


def seen(
    fault: str,
    report: Report | None = None,
    *,
    whole_s: float | None = None,
    status: int | None = None,
    said: str = "",
) -> None:
    """Note a row of the matrix; the end of the test run prints them all."""
    requests, failed = (report.requests, report.failed) if report else (0, 0)
    bad = sum(report.bad_answers.values()) if report else 0
    ROWS.append(Row(fault, requests, failed, bad, whole_s, status, said.replace("|", "/").replace("\n", " ")))
