"""Why a request had no recording, for people and programs: a sentence, an explanation, a JSON object.

Each names the thing and says what to do; what loses the least comes first. `proxy/misses` finds, counts and answers
misses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from replayproxy.core.identity.difference import Nearest
from replayproxy.model import Key, Request

UNPLAYABLE = "damaged"
"""The code of a recording that exists but is damaged: it fails a run with an exit code of its own."""

FORGOTTEN = "scope_forgotten"
"""The code of a request in a scope whose positions were forgotten."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A request without an answer.

    `code` is one of `no_match` (then `nearest` is set), `nothing_close`, `exhausted`, `incomplete_only`, `unsupported`,
    `damaged` (then `damage` says how), `scope_forgotten`, `uncertain_id` (with --carry).
    """

    code: str
    request: Request
    key: Key
    scope: str = ""
    recorded: int = 0
    """Recordings of equal requests; where none of them can be played, those that ended early."""
    request_count: int = 0
    """Equal requests of this scope so far, this one among them."""
    nearest: Nearest | None = None
    every: int = 0
    """Different requests that have a recording."""
    here: int = 0
    """Of these, to this endpoint."""
    damage: str = ""
    cut: int = 0
    """Recordings of this endpoint whose request was not read to its end, so that its key cannot be computed."""

    not_carried: str = ""
    """With `--carry`, why the fresh ids of the request do not stand for recorded ones."""

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method

    @property
    def path(self) -> str:
        """The path of the request."""
        return self.request.path

    @property
    def sentence(self) -> str:
        """What happened and what to do now."""
        if self.not_carried and self.code != "uncertain_id":
            return f"{replace(self, not_carried='').sentence} (--carry did not help: {self.not_carried}.)"
        if not self.cut:
            return self._sentence
        some = "one recording" if self.cut == 1 else f"{self.cut} recordings"
        return (
            f"{self._sentence} ({some} of this endpoint match{'es' if self.cut == 1 else ''} nothing: the request was"
            " cut, for the client did not send it to its end. Record it again.)"
        )

    @property
    def _sentence(self) -> str:
        what = f"{self.request.method} {self.request.path}"
        match self.code:
            case "exhausted":
                return (
                    f"{what} was recorded {_times(self.recorded)} and is asked for the"
                    f" {_ordinal(self.request_count)} time"
                    f"{' in scope ' + self.scope if self.scope else ''}: record it again, or replay with --at-end cycle"
                    " or last."
                )
            case "incomplete_only":
                return (
                    f"{what} was recorded {_times(self.recorded)}, but no answer can be played: the upstream or the"
                    " proxy broke it off, or the client left before it began. Record it again, or replay with"
                    " --allow-incomplete to get what there is, with its break."
                )
            case "unsupported":
                return (
                    f"{what} asks for another protocol than HTTP, which is not recorded: forward it to a live server."
                )
            case "damaged":
                return f"{what} was recorded, but cannot be played: {self.damage}"
            case "scope_forgotten":
                return (
                    f"how far scope {self.scope} has come is not known any more: too many other scopes were used since."
                    " Start it again with POST /reset?scope=… on the admin port, or use fewer scopes in one run."
                )
            case "uncertain_id":
                return (
                    f"{what} was recorded, but its answer cannot have the fresh ids of --carry: {self.not_carried}."
                    " Record it again, or let the tool return the recorded id."
                )
            case "no_match" if self.nearest is not None:
                return (
                    f"no recording matches this {what}. Closest: {self.nearest.neighbour.id}"
                    f" ({self.nearest.neighbour.cassette}), {self._where}. Make the request as it was recorded,"
                    f"{self._or_defaults} or record it again with --on-miss record and an --upstream."
                )
            case _:
                return (
                    f"no recording matches this {what}, and {self._none_near}: record it, with --on-miss record and an"
                    " --upstream."
                )

    @property
    def param(self) -> str | None:
        """The first place that differs, for the `param` of OpenAI's error envelope."""
        return self.nearest.differences[0].path if self.nearest and self.nearest.differences else None

    @property
    def _none_near(self) -> str:
        match self.here:
            case 0:
                return "there is none for this endpoint"
            case 1:
                return "the one there is for this endpoint does not come close"
            case _:
                return f"none of the {self.here} there are for this endpoint comes close"

    @property
    def _where(self) -> str:
        assert self.nearest is not None
        count = len(self.nearest.differences) + self.nearest.more
        places = [difference.path for difference in self.nearest.differences[:3]]
        return f"{count} {'difference' if count == 1 else 'differences'} at {', '.join(places)}" + (
            f" and {count - len(places)} more" if count > len(places) else ""
        )

    @property
    def _or_defaults(self) -> str:
        assert self.nearest is not None
        return " or replay with --match-defaults," if self.nearest.only_defaults else ""

    @property
    def explanation(self) -> str:
        """The full explanation, as lines for a terminal or a test report; without a line break at the end."""
        near = self.nearest
        if near is None:
            return self.sentence
        what = f"{self.request.method} {self.request.path}"
        lines = [
            f"No recording matches this {what} ({self.every} {'is' if self.every == 1 else 'are'} there;"
            f" {self.here} to this endpoint).",
            f"Closest {near.neighbour.id} ({near.neighbour.cassette}), the same except:",
        ]
        width = max(len(difference.path) for difference in near.differences)
        for difference in near.differences:
            looks = f"   <- looks like a {difference.likeness}" if difference.likeness else ""
            lines.append(f"  {difference.path:<{width}}  recorded  {difference.recorded}")
            lines.append(f"  {'':<{width}}  received  {difference.received}{looks}")
        if near.more:
            lines.append(f"  and {near.more} more")
        if self.not_carried:
            lines.append(f"--carry did not help: {self.not_carried}.")
        lines.append(f"Would have answered: {self._would}.")
        lines += ["Fix one of:", *(f"  {way}" for way in self._ways)]
        return "\n".join(lines)

    @property
    def _would(self) -> str:
        assert self.nearest is not None
        neighbour = self.nearest.neighbour
        parts = [str(neighbour.status)]
        if neighbour.completion_tokens is not None:
            parts.append(f"{neighbour.completion_tokens} tokens")
        if neighbour.finish is not None:
            parts.append(neighbour.finish)
        return ", ".join(parts)

    @property
    def _ways(self) -> list[str]:
        """The ways out; what loses the least comes first."""
        assert self.nearest is not None
        ways = ["make the request as it was recorded"]
        names = dict.fromkeys(d.likeness for d in self.nearest.differences if d.likeness)
        ways += [f"--match-normalise {name}   (compares every {name} as equal)" for name in names]
        if self.nearest.only_defaults:
            ways.append("--match-defaults   (compares a field with its documented default as absent)")
        elif not self.nearest.more:
            paths = [d.path for d in self.nearest.differences if d.path.startswith("$.") and not d.likeness]
            if paths:
                flags = " ".join(f"--match-ignore '{path}'" for path in paths)
                ways.append(f"{flags}   (loses meaning: matches anything there)")
        ways.append("record only this: --on-miss record --upstream URL")
        return ways

    def document(self) -> dict[str, Any]:
        """Return its JSON object."""
        return {
            "code": self.code,
            "method": self.request.method,
            "path": self.request.path,
            "key": self.key,
            "scope": self.scope,
            "recorded": self.recorded,
            "asked": self.request_count,
            "sentence": self.sentence,
            "explanation": self.explanation,
            **({"not_carried": self.not_carried} if self.not_carried else {}),
            "nearest": None if self.nearest is None else self._nearest_document(self.nearest),
        }

    def _nearest_document(self, near: Nearest) -> dict[str, Any]:
        neighbour = near.neighbour
        return {
            "cassette": neighbour.cassette,
            "id": neighbour.id,
            "similarity": round(near.similarity, 4),
            "differences": [
                {"path": d.path, "recorded": d.recorded, "received": d.received, "looks_like": d.likeness}
                for d in near.differences
            ],
            "more_differences": near.more,
            "only_defaults": near.only_defaults,
            "would_have_answered": {
                "status": neighbour.status,
                "completion_tokens": neighbour.completion_tokens,
                "finish": neighbour.finish,
            },
        }


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
