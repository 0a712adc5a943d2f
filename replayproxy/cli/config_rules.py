"""Write match rules into a file of `--config`, and leave everything else in it as it is: comments, order, other keys.

The text is extended, not written anew. What comes out is read again and must be what was meant; a file that is written
in a form in which lines cannot be added (`match-ignore: [a]`) is refused with the lines that belong there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from replayproxy import output_files
from replayproxy.errors import SettingsError

VERBS = ("record", "replay", "auto", "exec")
"""Sections that get the rules: those of them that the file has, or all where it has none."""

Rules = Mapping[str, Sequence[str]]
"""By key of the file: `match-ignore`, `match-normalise`."""


def write_rules(path: Path, rules: Rules) -> list[str]:
    """Add rules to the file, which need not be there. Returns the sections. Raises `SettingsError`."""
    try:
        text = path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--write {path} cannot be read: {error}") from error
    document = _read(path, text)
    sections = [verb for verb in VERBS if verb in document] or list(VERBS)
    for section in sections:
        text = _with_rules(path, text, section, rules)
    _check(path, document, _read(path, text), sections, rules)
    output_files.write(path, text.encode(), "--write")
    return sections


def _read(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"--write {path} is not YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(
        isinstance(document.get(verb), dict | None)
        for verb in VERBS  # a section without a key is null
    ):
        raise SettingsError(f"--write {path} must have one section per verb, such as `replay:`")
    return document


def _with_rules(path: Path, text: str, section: str, rules: Rules) -> str:
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if _begins_block(line, f"{section}:")), None)
    if start is None:
        if _read(path, text).get(section) is not None:
            raise _refused(path, section, rules)
        lines += [f"{section}:"]
        start = len(lines) - 1
    for key, values in rules.items():
        if values:
            extended = _with_key(lines, start, key, values)
            if extended is None:
                raise _refused(path, section, rules)
            lines = extended
    return "\n".join(lines) + "\n"


def _with_key(lines: list[str], start: int, key: str, values: Sequence[str]) -> list[str] | None:
    """The lines with these items under the key of the section at `start`; None where the key is no block of lines."""
    stop = start + 1
    while stop < len(lines) and (not lines[stop].strip() or lines[stop][0] in " #"):
        stop += 1
    while stop > start + 1 and (not lines[stop - 1].strip() or lines[stop - 1].startswith("#")):
        stop -= 1  # what stands before the next section belongs to it
    body = lines[start + 1 : stop]
    indent = next((_indent(line) for line in body if line.strip() and line.startswith(" ")), "  ")
    at = next((place for place, line in enumerate(body) if line.startswith(f"{indent}{key}:")), None)
    if at is None:
        added = [f"{indent}{key}:", *(f"{indent}  - {json.dumps(value, ensure_ascii=False)}" for value in values)]
        return [*lines[:stop], *added, *lines[stop:]]
    if not _begins_block(body[at], f"{indent}{key}:"):
        return None
    end = at + 1
    items = indent
    while end < len(body) and body[end].startswith(indent) and body[end].lstrip(" ").startswith("- "):
        items = _indent(body[end])
        end += 1
    present = [yaml.safe_load(line.lstrip()[2:]) for line in body[at + 1 : end]]
    added = [f"{items}- {json.dumps(value, ensure_ascii=False)}" for value in values if value not in present]
    place = start + 1 + end
    return [*lines[:place], *added, *lines[place:]]


def _begins_block(line: str, key: str) -> bool:
    """Whether a line is this key, and at most a comment behind it."""
    rest = line.removeprefix(key).lstrip()
    return line.startswith(key) and (not rest or rest.startswith("#"))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _refused(path: Path, section: str, rules: Rules) -> SettingsError:
    lines = [f"{section}:"]
    for key, values in rules.items():
        if values:
            lines += [f"  {key}:", *(f"    - {json.dumps(value, ensure_ascii=False)}" for value in values)]
    shown = "\n".join(lines)
    return SettingsError(
        f"--write {path}: section {section} is written so that no line can be added; add this:\n{shown}"
    )


def _check(
    path: Path, before: Mapping[str, Any], after: Mapping[str, Any], sections: Sequence[str], rules: Rules
) -> None:
    for section in sections:
        was, now = before.get(section) or {}, after.get(section) or {}
        expected = {
            **was,
            **{key: list(dict.fromkeys([*(was.get(key) or []), *values])) for key, values in rules.items() if values},
        }
        if now != expected:
            raise _refused(path, section, rules)
    if {name: value for name, value in before.items() if name not in sections} != {
        name: value for name, value in after.items() if name not in sections
    }:
        raise SettingsError(f"--write {path}: its sections cannot be told apart; add the rules by hand")
