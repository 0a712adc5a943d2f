"""Which requests are worth recording: by path, and by share."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from replayproxy.model import Request


class Selection:
    """Says yes to paths that a glob of `include` matches (all, if there is none) and none of `exclude`; and of those
    to every n-th, so that exactly the share `sample` is recorded."""

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = (), sample: float = 1.0) -> None:
        self._include = tuple(include) or ("*",)
        self._exclude = tuple(exclude)
        self._sample = sample
        self._owed = 0.0

    def __call__(self, request: Request) -> bool:
        """Whether to record this one. Counts it."""
        path = request.path
        if not any(fnmatchcase(path, glob) for glob in self._include):
            return False
        if any(fnmatchcase(path, glob) for glob in self._exclude):
            return False
        self._owed += self._sample
        if self._owed < 1:
            return False
        self._owed -= 1
        return True
