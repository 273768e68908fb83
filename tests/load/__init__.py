"""A strict load client: it sends five kinds of traffic at once, never retries, and records every answer.

Use it from a test::

    with Load(LoadPlan("127.0.0.1", 8080)) as load:
        ...
        report = load.stop()
    assert report.failed == 0, report.table()
"""

from tests.load.control import Load, LoadError
from tests.load.plan import LoadPlan
from tests.load.record import FAILED_OUTCOMES, Record
from tests.load.report import KindCounts, Report

__all__ = ["FAILED_OUTCOMES", "KindCounts", "Load", "LoadError", "LoadPlan", "Record", "Report"]
