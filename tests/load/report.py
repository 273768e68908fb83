"""Answers about what a load run saw."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.load.record import BAD_ANSWER, KINDS, OK, RECONNECT, Record


@dataclass(frozen=True)
class KindCounts:
    """The numbers of one kind of traffic; the times are seconds of right answers, NaN without one."""

    requests: int
    failed: int
    bad_answers: int
    reconnects: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


def percentile(times: Iterable[float], share: float) -> float:
    """The smallest of `times` that `share` (0 to 1) of them do not exceed; NaN when there is none."""
    ordered = sorted(times)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


@dataclass(frozen=True)
class Report:
    """All records of a run, or of a run so far, in the order in which they ended.

    `ended_by` is "stopped" after a normal stop, "" while the run goes on, otherwise the bound or signal
    that ended it. `lag_s` is the longest time for which the client itself was held up.
    """

    records: Sequence[Record]
    ended_by: str = ""
    lag_s: float = 0.0

    @cached_property
    def _asked(self) -> list[Record]:
        return [r for r in self.records if r.outcome != RECONNECT]

    @property
    def requests(self) -> int:
        """Everything sent: HTTP requests, websocket handshakes and messages."""
        return len(self._asked)

    @property
    def reconnects(self) -> int:
        """Connections found closed while idle, before a byte of the next request."""
        return len(self.records) - self.requests

    @cached_property
    def failures(self) -> list[Record]:
        """Each failed request, with `time`, `kind`, `outcome` and `detail`."""
        return [r for r in self._asked if r.failed]

    @property
    def failed(self) -> int:
        """Requests that were refused, cut, timed out, or answered by no release or with a wrong body."""
        return len(self.failures)

    @cached_property
    def bad_answers(self) -> dict[str, int]:
        """Non-2xx answers that a release itself made, by release."""
        return dict(Counter(r.release or "?" for r in self._asked if r.outcome == BAD_ANSWER))

    @cached_property
    def outcomes(self) -> dict[str, int]:
        """How many records had which outcome."""
        return dict(Counter(r.outcome for r in self.records))

    @cached_property
    def by_release(self) -> dict[str, int]:
        """Whole answers, right or bad, by release."""
        return dict(Counter(r.release for r in self._answers() if r.release is not None))

    @cached_property
    def by_kind(self) -> dict[str, KindCounts]:
        """The numbers of each kind of traffic."""
        return {kind: self._counts([r for r in self.records if r.kind == kind]) for kind in KINDS}

    @staticmethod
    def _counts(records: list[Record]) -> KindCounts:
        reconnects = sum(r.outcome == RECONNECT for r in records)
        times = [r.took_s for r in records if r.outcome == OK]
        return KindCounts(
            requests=len(records) - reconnects,
            failed=sum(r.failed for r in records),
            bad_answers=sum(r.outcome == BAD_ANSWER for r in records),
            reconnects=reconnects,
            p50_s=percentile(times, 0.5),
            p95_s=percentile(times, 0.95),
            p99_s=percentile(times, 0.99),
            max_s=max(times, default=math.nan),
        )

    def _answers(self, release: str | None = None) -> list[Record]:
        wanted = [r for r in self._asked if r.outcome in (OK, BAD_ANSWER)]
        return wanted if release is None else [r for r in wanted if r.release == release]

    def first_answer(self, release: str, after: float = 0.0) -> float | None:
        """When the first answer of `release` that came at or after `after` was complete, if one came."""
        return min((r.ended for r in self._answers(release) if r.ended >= after), default=None)

    def last_answer(self, release: str) -> float | None:
        """When the last answer of `release` was complete, if one came."""
        return max((r.ended for r in self._answers(release)), default=None)

    def sent_after(self, moment: float, release: str) -> list[Record]:
        """What `release` answered although the router chose it after `moment`: the stale answers.

        For HTTP that is every request sent after `moment`; a websocket stays where its handshake went,
        so its messages count only when the handshake was sent after `moment`.
        """
        return [r for r in self._answers(release) if r.routed > moment]

    def between(self, start: float, end: float) -> "Report":
        """The same for the requests sent from `start` up to, but not at, `end`."""
        return Report([r for r in self.records if start <= r.time < end], self.ended_by, self.lag_s)

    def failures_over_time(self, step_s: float = 1.0) -> dict[float, int]:
        """Failed requests by the beginning of the step in which they were sent; empty steps are left out."""
        return dict(sorted(Counter(math.floor(r.time / step_s) * step_s for r in self.failures).items()))

    def percentile(self, share: float, kind: str | None = None) -> float:
        """The time in seconds within which `share` (0 to 1) of the right answers came; NaN without one."""
        return percentile(
            (r.took_s for r in self._asked if r.outcome == OK and kind in (None, r.kind)), share
        )

    def table(self) -> str:
        """The whole for people: a line per kind, the releases, and the first failures."""
        lines = [
            f"{'kind':<11}{'requests':>10}{'failed':>8}{'bad':>6}{'reconn.':>9}"
            f"{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}"
        ]
        for kind, counts in (*self.by_kind.items(), ("all", self._counts(list(self.records)))):
            times = (counts.p50_s, counts.p95_s, counts.p99_s, counts.max_s)
            lines.append(
                f"{kind:<11}{counts.requests:>10}{counts.failed:>8}{counts.bad_answers:>6}{counts.reconnects:>9}"
                + "".join(f"{'-' if math.isnan(t) else format(t * 1000, '.1f'):>9}" for t in times)
            )
        lines.append("answers by release: " + _listed(self.by_release))
        lines.append("bad answers by release: " + _listed(self.bad_answers))
        lines.append("failures by outcome: " + _listed(dict(Counter(r.outcome for r in self.failures))))
        first = self.records[0].time if self.records else 0.0
        for r in self.failures[:10]:
            lines.append(
                f"  at {r.time - first:7.3f} s  {r.kind}  {r.outcome}  {r.status or ''}  {r.detail}".rstrip()
            )
        if self.failed > 10:
            lines.append(f"  and {self.failed - 10} more")
        lines.append(
            f"ended by: {self.ended_by or 'still running'}; client held up at most {self.lag_s:.3f} s"
        )
        return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
