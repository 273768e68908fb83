"""Are the documents in step with the program? Run as `python -m devtools.docs_in_step`.

Compares what the program really has (commands, options, exit statuses, configuration keys, tests) with what the
documents name, and looks up every relative link. Prints one line per difference; exit status 1 when there is any.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from backstay import errors
from backstay.cli import main as cli_main
from backstay.config import json_schema

ROOT = Path(__file__).resolve().parents[1]
OTHER_STATUSES = {0}
"""Statuses of no error class: done."""

COMMANDS, CONFIGURATION = "docs/commands.md", "docs/configuration.md"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*$", re.MULTILINE)

Lookup = Callable[[str], click.Command]


def main(root: Path = ROOT) -> int:
    """Print every difference; 0 when there is none."""
    problems = [*check_commands(root), *check_statuses(root), *check_keys(root)]
    problems += [*check_tests(root), *check_links(root)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("documents in step")
    return 1 if problems else 0


def check_commands(root: Path, table: Iterable[str] | None = None, lookup: Lookup | None = None) -> list[str]:
    """A section `## NAME` per command with each of its options; the common options before the first of them.

    `table` and `lookup` stand in for the program's own commands.
    """
    path = root / COMMANDS
    names = list(cli_main.COMMANDS if table is None else table)
    find = lookup or _load
    sections = _sections(path.read_text(encoding="utf-8"))
    common = {option for param in cli_main.cli.params for option in _names(param)}
    problems = _lacking(common, sections.get("", ""), f"{COMMANDS}: before the first command")
    for words, command in _walk(names, find):
        if words not in sections:
            problems.append(f"{COMMANDS}: no section `## {words}`")
            continue
        own = {option for param in command.params for option in _names(param)} - common
        problems += _lacking(own, sections[words], f"{COMMANDS}: section {words!r}")
    known = {words for words, _ in _walk(names, find)}
    problems += [
        f"{COMMANDS}: section {words!r} is no command"
        for words in sections
        if words and words not in known and words.split()[0] in names
    ]
    return problems


def check_statuses(root: Path) -> list[str]:
    """A table row `| STATUS |` for every exit status of the error tree."""
    text = (root / COMMANDS).read_text(encoding="utf-8")
    found = (kind for _, kind in inspect.getmembers(errors, inspect.isclass))
    wanted = {kind.exit_status for kind in found if issubclass(kind, errors.BackstayError)}
    return [
        f"{COMMANDS}: exit status {status} is not in a table"
        for status in sorted(wanted | OTHER_STATUSES)
        if not re.search(rf"^\| {status} \|", text, re.MULTILINE)
    ]


def check_keys(root: Path) -> list[str]:
    """Every configuration key, somewhere in its document; nothing while there is no such document."""
    path = root / CONFIGURATION
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [
        f"{CONFIGURATION}: key `{key}` is missing"
        for key in sorted(set(_keys(json_schema())))
        if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text)
    ]


def check_tests(root: Path, tests: Path = ROOT / "tests") -> list[str]:
    """Every test that a document names by its function or its file is there."""
    code = {path: path.read_text(encoding="utf-8") for path in tests.rglob("test_*.py")}
    names = {name for text in code.values() for name in re.findall(r"def (test_\w+)", text)}
    files = {path.relative_to(tests).as_posix() for path in code}
    problems = []
    for path in _documents(root):
        text = path.read_text(encoding="utf-8")
        told = set(re.findall(r"(?<![\w/])test_\w+(?![\w.])", text)) - names
        told |= set(re.findall(r"(?<![\w/])(?:tests/)?(\w+/test_\w+\.py)", text)) - files
        problems += [f"{path.relative_to(root)}: there is no {name}" for name in sorted(told)]
    return problems


def check_links(root: Path) -> list[str]:
    """Every relative link leads to a file, and to a heading of it when it names one."""
    problems = []
    for path in _documents(root):
        for target in _LINK.findall(_FENCE.sub("", path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            found = (path.parent / name) if name else path
            if not found.exists():
                problems.append(f"{path.relative_to(root)}: {target} leads nowhere")
            elif anchor and anchor not in _anchors(found):
                problems.append(f"{path.relative_to(root)}: {target} names no heading")
    return problems


def _documents(root: Path) -> list[Path]:
    found = [*(root / name for name in TOP), *sorted((root / "docs").glob("*.md"))]
    return [path for path in found if path.exists()]


def _load(name: str) -> click.Command:
    command: click.Command = importlib.import_module(cli_main.COMMANDS[name][0]).command
    return command


def _walk(names: Iterable[str], find: Lookup) -> Iterator[tuple[str, click.Command]]:
    """Full name and command of every command; of a group, its members."""
    for name in names:
        command = find(name)
        if isinstance(command, click.Group):
            for member, inner in command.commands.items():
                yield f"{name} {member}", inner
        else:
            yield name, command


def _names(param: click.Parameter) -> list[str]:
    return [name for name in [*param.opts, *param.secondary_opts] if name.startswith("--")]


def _lacking(options: Iterable[str], text: str, where: str) -> list[str]:
    return [
        f"{where}: {option} is missing"
        for option in sorted(options)
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)
    ]


def _sections(text: str) -> dict[str, str]:
    """Text per `## ` heading; under the name '' everything before the first command's."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    sections = {
        heading.strip().strip("`"): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    first = {name.partition(" ")[0] for name in cli_main.COMMANDS}
    intro = [parts[0]]
    for heading, body in sections.items():
        if heading.split()[0] in first:
            break
        intro.append(body)
    return {**sections, "": "\n".join(intro)}


def _keys(schema: Mapping[str, Any]) -> Iterator[str]:
    """Names of all properties, wherever they stand in the schema."""
    for name, value in schema.items():
        if name == "properties" and isinstance(value, dict):
            yield from value
        values = value if isinstance(value, list) else [value]
        for inner in values:
            if isinstance(inner, dict):
                yield from _keys(inner)


def _anchors(path: Path) -> set[str]:
    """The names by which a Markdown file's headings can be linked; none for anything else."""
    if path.suffix != ".md":
        return set()
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for _, heading in _HEADING.findall(text)
    }


if __name__ == "__main__":
    sys.exit(main())
