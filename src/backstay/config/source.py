"""The text of a backstay.yml: size, encoding and form, before anybody asks what it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from backstay.config.document import Document
from backstay.config.locate import shown_name
from backstay.config.nodes import Loader, TooMuch, Walk
from backstay.config.problem import Position, Problem

LARGEST_FILE: Final = 1024 * 1024


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """Read `path`. Faults are collected in the document, never raised.

    Values that were refused are None in the data; all of it is None when the text could not be read at all.
    """
    document = Document(path.absolute(), shown_name(path))
    text = _text_of(document)
    if text is None:
        return document
    try:
        loader = Loader(text)
        root = _only_document(loader, document)
        if root is not None:
            Walk(document, environ).enter(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Position(mark.line + 1, mark.column + 1) if mark else Position()
        told = error.problem or error.context or "cannot be read"
        document.problems.append(
            Problem(document.name, where, (), told if isinstance(error, TooMuch) else f"not YAML: {told}")
        )
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        document.problems.append(
            Problem(
                document.name,
                where,
                (),
                f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed",
            )
        )
    return document


def _text_of(document: Document) -> str | None:
    def refuse(message: str, line: int = 0) -> None:
        document.problems.append(Problem(document.name, Position(line, 1 if line else 0), (), message))

    try:
        with document.path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        refuse(f"cannot be read: {error.strerror}")
        return None
    if len(raw) > LARGEST_FILE:
        refuse("larger than 1 MiB")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse("not UTF-8", raw.count(b"\n", 0, error.start) + 1)
        return None


def _only_document(loader: Loader, document: Document) -> yaml.Node | None:
    if not loader.check_node():
        document.problems.append(
            Problem(
                document.name,
                Position(1, 1),
                (),
                "empty; at least app, components and environments are needed",
            )
        )
        return None
    root = loader.get_node()
    if loader.check_node():
        mark = loader.peek_event().start_mark  # type: ignore[no-untyped-call]
        message = "a second document begins here; only one is allowed"
        document.problems.append(
            Problem(document.name, Position(mark.line + 1, mark.column + 1), (), message)
        )
        return None
    return root
