"""Types of the keys of backstay.yml: parsers of `values.py` and `choices.py`, and the JSON Schema editors see."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import PlainValidator, WithJsonSchema

from backstay.config import choices, values
from backstay.domain.environment import Bind


def _or_variable(pattern: str) -> str:
    """What is written may also be `${NAME}`, which an editor cannot expand."""
    return rf"^({pattern})$|\$\{{"


def _string(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": _or_variable(pattern)})


def _whole(low: int, high: int) -> WithJsonSchema:
    shown = {
        "type": ["integer", "string"],
        "minimum": low,
        "maximum": high,
        "pattern": _or_variable("[0-9]+"),
    }
    return WithJsonSchema(shown)


def _one_of(*allowed: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": _or_variable("|".join(allowed)), "examples": list(allowed)}
    )


_ANY_TEXT: Final = WithJsonSchema({"type": ["string", "integer"]})
_FILLED: Final = WithJsonSchema({"type": "string", "minLength": 1})
_URL: Final = WithJsonSchema({"type": "string", "format": "uri"})
_DURATION: Final = _string(values.DURATION)
_SIZE: Final = WithJsonSchema({"type": ["string", "integer"], "pattern": _or_variable(values.MEMORY)})
_SHARE: Final = WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
_FLAG: Final = WithJsonSchema({"type": "boolean"})
_HOSTS: Final = WithJsonSchema({"type": "array", "items": {"const": "local"}, "minItems": 1, "maxItems": 1})
_VOLUME: Final = _string(r"[^:]+:/[^:]+(:(ro|rw))?")

Name = Annotated[str, PlainValidator(values.name), _string(values.NAME)]
Variable = Annotated[str, PlainValidator(values.variable), _string(values.VARIABLE)]
Text = Annotated[str, PlainValidator(values.text), _ANY_TEXT]
FilledText = Annotated[str, PlainValidator(values.filled_text), _FILLED]
Duration = Annotated[values.Seconds, PlainValidator(values.duration), _DURATION]
SomeTime = Annotated[values.Seconds, PlainValidator(values.some_time), _DURATION]
LeaseTime = Annotated[values.Seconds, PlainValidator(values.lease_time), _DURATION]
Window = Annotated[values.Seconds, PlainValidator(values.window), _DURATION]
Every = Annotated[
    values.Seconds | str, PlainValidator(values.smoke_every), _string(f"(off|{values.DURATION})")
]
Memory = Annotated[values.Bytes, PlainValidator(values.memory), _SIZE]
Port = Annotated[int, PlainValidator(values.port), _whole(1, 65535)]
Status = Annotated[int, PlainValidator(values.status), _whole(100, 599)]
Count = Annotated[int, PlainValidator(values.count), _whole(1, 1_000_000)]
CountOrNone = Annotated[int, PlainValidator(values.count_or_none), _whole(0, 1_000_000)]
Share = Annotated[float, PlainValidator(values.share), _SHARE]
PortRange = Annotated[tuple[int, int], PlainValidator(values.port_range), _string("[0-9]+-[0-9]+")]
Address = Annotated[Bind, PlainValidator(values.bind), _string(r".*:[0-9]{1,5}")]
Image = Annotated[str, PlainValidator(values.image), _string(values.IMAGE)]
UrlPath = Annotated[str, PlainValidator(values.url_path), _string(values.URL_PATH)]
RequestPath = Annotated[str, PlainValidator(values.request_path), _string(rf"{values.URL_PATH}(\?.*)?")]
HeaderName = Annotated[str, PlainValidator(values.header_name), _string(values.HEADER)]
HeaderValue = Annotated[str, PlainValidator(values.header_value), _ANY_TEXT]
Word = Annotated[str, PlainValidator(values.filled_text), _ANY_TEXT]
JsonPath = Annotated[str, PlainValidator(values.json_path), _string(r"\$.*")]
Volume = Annotated[str, PlainValidator(values.volume), _VOLUME]
Url = Annotated[str, PlainValidator(values.url), _URL]
Origin = Annotated[str, PlainValidator(values.origin), _string(r"\*|https?://[^/?#\s@]+")]
Network = Annotated[str, PlainValidator(values.network), _FILLED]
NotifyUrl = Annotated[str, PlainValidator(values.notify_url), _URL]
Cron = Annotated[str, PlainValidator(values.cron), _string(r"off|\S+(\s+\S+){4}")]
Scratch = Annotated[
    str, PlainValidator(values.scratch), _string("(auto|url:[A-Za-z_][A-Za-z0-9_]*|container:.+)")
]
Flag = Annotated[bool, PlainValidator(values.flag), _FLAG]
Recipient = Annotated[str, PlainValidator(values.age_recipient), _string(values.AGE_RECIPIENT)]
Hosts = Annotated[tuple[str, ...], PlainValidator(values.hosts), _HOSTS]
Engine = Annotated[str, PlainValidator(choices.engine), _one_of(*choices.ENGINES)]
LevelName = Annotated[str, PlainValidator(choices.level), _one_of(*choices.LEVELS)]
BackupChoice = Annotated[str, PlainValidator(choices.backup_rule), _one_of(*choices.BACKUP_RULES)]
BackupEngine = Annotated[str, PlainValidator(choices.backup_kind), _one_of(*choices.BACKUP_KINDS)]
TrialChoice = Annotated[str, PlainValidator(choices.trial), _one_of(*choices.TRIALS)]
CheckChoice = Annotated[str, PlainValidator(choices.check_set), _one_of(*choices.CHECK_SETS)]
SmokeChoice = Annotated[str, PlainValidator(choices.smoke_set), _one_of(*choices.SMOKE_SETS)]
Method = Annotated[str, PlainValidator(choices.method), _one_of(*choices.METHODS)]
