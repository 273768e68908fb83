"""Where scratch servers come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """`AUTO`: this host's own binaries of the same major version. `CONTAINER`: an image. `URL`: a server that
    somebody gives, whatever else runs there."""

    AUTO = "auto"
    CONTAINER = "container"
    URL = "url"


@dataclass(frozen=True, slots=True)
class Where:
    """`database.scratch` of the configuration. `name` is the image, or the name of the secret; "" for `auto`."""

    source: Source
    name: str = ""

    @classmethod
    def parse(cls, written: str) -> Where:
        """ValueError when it is none of `auto`, `container:IMAGE` and `url:SECRET`."""
        if written == Source.AUTO:
            return cls(Source.AUTO)
        kind, _, name = written.partition(":")
        if kind in (Source.CONTAINER, Source.URL) and name and not name.startswith("//"):
            return cls(Source(kind), name)
        raise ValueError(f"{written!r} is none of auto, container:IMAGE and url:SECRET")

    def __str__(self) -> str:
        return self.source.value if self.source is Source.AUTO else f"{self.source.value}:{self.name}"
