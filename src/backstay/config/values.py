"""Single values of backstay.yml: from what is written to what is meant.

Every function takes what YAML gave and returns the parsed value, or raises ValueError that says what is
allowed and never repeats the value.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from backstay.domain.duration import parse_duration
from backstay.domain.environment import Bind
from backstay.domain.lease import HEARTBEAT_S, LEAST_BEATS

LONGEST_S: Final = 7 * 24 * 3600.0
LEAST_MEMORY: Final = 6 * 1024 * 1024
NAME: Final = r"[a-z][a-z0-9-]{0,39}"
VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
MEMORY: Final = r"[0-9]{1,15}[bkmgBKMG]?"
DURATION: Final = r"[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)"
IMAGE: Final = r"[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
HEADER: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
AGE_RECIPIENT: Final = r"age1[a-z0-9]{58}"
URL_PATH: Final = r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*"

_SIZES: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Seconds(float):
    """A duration in seconds, told apart from other numbers when it is shown."""


class Bytes(int):
    """A size in bytes, told apart from other numbers when it is shown."""


def name(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(NAME, value) is None:
        raise ValueError("must be lower-case letters, digits and -, begin with a letter, at most 40 long")
    return value


def variable(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(VARIABLE, value) is None:
        raise ValueError("must be a variable name: letters, digits and _, not beginning with a digit")
    return value


def text(value: Any) -> str:
    """Text, or a whole number: `3` is as good as `"3"`, while `true` and `1.10` could mean two things."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("must be text; write it in quotes" if is_scalar(value) else "must be text")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def filled_text(value: Any) -> str:
    if not text(value).strip():
        raise ValueError("must not be empty")
    return text(value)


def is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def duration(value: Any) -> Seconds:
    try:
        seconds = parse_duration(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a duration with a unit, like 500ms, 30s, 10m or 2h") from None
    if seconds > LONGEST_S:
        raise ValueError("must be at most 168h")
    return Seconds(seconds)


def some_time(value: Any) -> Seconds:
    if duration(value) <= 0:
        raise ValueError("must be longer than 0s")
    return duration(value)


def lease_time(value: Any) -> Seconds:
    """A shorter one would be lost by a worker whose heartbeats only come a little late."""
    least_s = LEAST_BEATS * HEARTBEAT_S
    if duration(value) < least_s:
        raise ValueError(f"must be at least {least_s:g}s: {LEAST_BEATS} heartbeats of {HEARTBEAT_S:g} s")
    return duration(value)


def window(value: Any) -> Seconds:
    """The router keeps ten minutes of counters, so no window can look further back."""
    if not 1 <= duration(value) <= 600:
        raise ValueError("must be from 1s to 10m: that is as far back as the router's counters go")
    return duration(value)


def smoke_every(value: Any) -> Seconds | str:
    if value is False or value == "off":
        return "off"
    return some_time(value)


def flag(value: Any) -> bool:
    """YAML's own true and false; as text when they come from a variable."""
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return bool(value == "true")


def cron(value: Any) -> str:
    """A cron expression of five fields, or `off`."""
    if value is False or value == "off":
        return "off"
    from cronsim import CronSim, CronSimError

    fields = value.split() if isinstance(value, str) else []
    try:
        if len(fields) == 5:
            next(CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC)))
            return " ".join(fields)
    except (CronSimError, StopIteration):
        pass
    raise ValueError('must be a cron expression of five fields, like "0 2 * * *", or off')


def memory(value: Any) -> Bytes:
    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(written, str) or re.fullmatch(MEMORY, written) is None:
        raise ValueError("must be a size in bytes, or one like 1024k, 512m or 1g")
    digits = written.rstrip("bkmgBKMG")
    size = int(digits) * _SIZES[written[len(digits) :].lower()]
    if size < LEAST_MEMORY:
        raise ValueError("must be at least 6m")
    return Bytes(size)


def whole(value: Any, low: int, high: int) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise ValueError(f"must be a whole number from {low} to {high}")
    return number


def port(value: Any) -> int:
    return whole(value, 1, 65535)


def status(value: Any) -> int:
    return whole(value, 100, 599)


def count(value: Any) -> int:
    return whole(value, 1, 1_000_000)


def count_or_none(value: Any) -> int:
    return whole(value, 0, 1_000_000)


def share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("must be a share from 0 to 1; 0.05 is five percentage points")
    return float(value)


def port_range(value: Any) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None or not 1024 <= int(match[1]) < int(match[2]) <= 65535:
        raise ValueError("must be a range like 20000-20999, between 1024 and 65535")
    return int(match[1]), int(match[2])


def bind(value: Any) -> Bind:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f'must be HOST:PORT or :PORT; write ":{value}" for every address')
    match = re.fullmatch(
        r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*|\*):([0-9]{1,5})", value if isinstance(value, str) else ""
    )
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError("must be HOST:PORT or :PORT, the port from 1 to 65535")
    host = match[1].strip("[]").replace("*", "")
    if match[1].startswith("[") or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("the host is not an IP address") from None
    return Bind(host, int(match[2]))


def image(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be an image name like registry.example/shop-backend")
    if "@" in value:
        raise ValueError("must have no digest: a release supplies the version")
    if ":" in value.rpartition("/")[2]:
        raise ValueError("must have no tag: a release supplies the version")
    if re.fullmatch(IMAGE, value) is None:
        raise ValueError("must be an image name like registry.example/shop-backend, in lower case")
    return value


def url_path(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(URL_PATH, value) is None:
        raise ValueError("must be a path that begins with / and has no blank, ? or #")
    return value


def request_path(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(rf"{URL_PATH}(\?[!-~]*)?", value) is None or "#" in value:
        raise ValueError("must be a path that begins with /, may have a ?query, and has no blank or #")
    return value


def header_name(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(HEADER, value) is None:
        raise ValueError("must be a header name like content-type")
    return value


def header_value(value: Any) -> str:
    if re.fullmatch(r"[ -~]*", text(value)) is None:
        raise ValueError("must be printable ASCII")
    return text(value)


def json_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("$"):
        raise ValueError('must be a JSONPath, like "$.database"')
    return value


def volume(value: Any) -> str:
    form = r"([A-Za-z0-9][A-Za-z0-9_.-]*|/[^:\0]*):/[^:\0]+(:(ro|rw))?"
    if not isinstance(value, str) or re.fullmatch(form, value) is None:
        raise ValueError("must be NAME:/PATH or /HOST/PATH:/PATH, with :ro at the end if it is read only")
    return value


def url(value: Any) -> str:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", value):
        raise ValueError("must be a URL that begins with http:// or https://")
    return str(value)


def origin(value: Any) -> str:
    """As a browser sends it, so it can be compared letter by letter."""
    if value == "*":
        return "*"
    try:
        parts = urlsplit(url(value))
    except ValueError:
        parts = urlsplit("")
    if (
        not parts.netloc
        or value != f"{parts.scheme}://{parts.netloc}"
        or "@" in value
        or value != value.lower()
    ):
        raise ValueError("must be an origin in lower case without a path, like https://www.example, or *")
    return str(value)


def notify_url(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", value) is None:
        raise ValueError("must be a notification URL like slack://… or json://…")
    return value


def network(value: Any) -> str:
    if value in ("host", "none"):
        raise ValueError("must be a network with addresses of its own, which host and none are not")
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value) is None:
        raise ValueError("must be the name of a network")
    return value


def scratch(value: Any) -> str:
    form = r"auto|url:[A-Za-z_][A-Za-z0-9_]*|container:\S+"
    if not isinstance(value, str) or re.fullmatch(form, value) is None:
        raise ValueError(
            "must be auto, url:SECRET (the name of a secret that holds the URL) or container:IMAGE"
        )
    return value


def age_recipient(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(AGE_RECIPIENT, value) is None:
        raise ValueError(
            "must be an age recipient, like age1…; `age-keygen -y FILE` shows that of an identity"
        )
    return value


def hosts(value: Any) -> tuple[str, ...]:
    if value != ["local"]:
        raise ValueError("must be [local]: several or remote hosts are not built yet")
    return ("local",)


def write_duration(seconds: float) -> str:
    """The duration as it is written in a file, exactly: `500ms`, `90s`, `2m`, `1h`."""
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def write_memory(size: int) -> str:
    """The size as it is written in a file, exactly: `512m`, `1g`, or plain bytes."""
    for unit in ("g", "m", "k"):
        if size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return str(size)
