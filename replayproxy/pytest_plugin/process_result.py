"""What one process of a pytest run reports: an xdist worker to its controller, or the only process to itself.

Plain values that survive JSON. Light to import: every run of pytest imports it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Document = dict[str, Any]
"""A JSON object."""

_LISTS = ("selected", "narrowed", "late", "folders", "spared")
"""The fields of a process's result that are the same in its document."""


@dataclass(slots=True)
class ItemResult:
    """One test: its cassette, how often each outcome, and its misses as documents."""

    test: str
    cassette: str
    outcomes: dict[str, int] = field(default_factory=dict)
    misses: list[Document] = field(default_factory=list)


@dataclass(slots=True)
class CassetteUse:
    """One cassette, as one process has used it.

    `result` is the document of the `RunResult` of its proxies there, None before they have stopped. `is_recorded`:
    something may have been recorded, so that it is not judged; `part` is the file it was recorded to if that is not
    the cassette itself. `named`: by a marker, so that tests of any file may use it.
    """

    mode: str
    result: Document | None = None
    is_recorded: bool = False
    part: str | None = None
    named: bool = False

    @property
    def recorded(self) -> int:
        """How many exchanges were recorded."""
        return 0 if self.result is None else int(self.result["recorded"])


@dataclass(slots=True)
class ProcessResult:
    """What one process reports at its end."""

    tests: dict[str, ItemResult] = field(default_factory=dict)
    cassettes: dict[str, CassetteUse] = field(default_factory=dict)
    selected: dict[str, list[str]] = field(default_factory=dict)
    """The tests that were to run, by file; of the files whose tests used a proxy."""
    narrowed: list[str] = field(default_factory=list)
    """Files of which not all tests were selected; `*` if the files themselves were chosen."""
    late: list[Document] = field(default_factory=list)
    """Misses after the test that caused them was over."""
    folders: list[str] = field(default_factory=list)
    """The folders of the cassettes of the tests that ran."""
    spared: list[str] = field(default_factory=list)
    """Cassettes and folders of tests that were collected and did not run: they may use these."""

    def document(self) -> Document:
        """Return its JSON object."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Document) -> ProcessResult:
        """Read what `document` returned."""
        return cls(
            tests={name: ItemResult(**test) for name, test in document["tests"].items()},
            cassettes={name: CassetteUse(**use) for name, use in document["cassettes"].items()},
            **{name: document[name] for name in _LISTS},
        )
