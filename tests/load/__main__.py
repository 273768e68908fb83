"""Command line: `python -m tests.load --port 8080 --seconds 10` prints what the load client saw."""

import argparse
import sys
import time
from dataclasses import fields

from tests.load.control import Load, LoadError
from tests.load.plan import LoadPlan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to send (default 10)")
    for field in fields(LoadPlan):
        if field.name not in ("host", "port"):
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=type(field.default),
                default=field.default,
                help=f"default {field.default!r}",
            )
    return parser


def main() -> int:
    """Send for the given time and print the table; 0: nothing failed, 1: something did, 2: no result."""
    options = vars(_parser().parse_args())
    seconds = options.pop("seconds")
    try:
        with Load(LoadPlan(**options)) as load:
            time.sleep(seconds)
            report = load.stop()
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(report.table())
    print(f"{report.requests / seconds:.0f} requests per second")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
