"""Choose which requests are recorded: by path, and by share."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from replayproxy.model import Request


class Selection:
    """Accepts paths that a glob of `include` matches (all, if there is none) and no glob of `exclude`.

    Of these it accepts every n-th, so that exactly the share `sample` is recorded.
    """

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = (), sample: float = 1.0) -> None:
        self._include = tuple(include) or ("*",)
        self._exclude = tuple(exclude)
        self._sample = sample
        self._owed = 0.0

    def __call__(self, request: Request) -> bool:
        """Return whether to record this request. Counts it for the share."""
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
