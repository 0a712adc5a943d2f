"""What a run remembers of its requests: where each scope is, what was counted, the calls, the misses.

The methods take and return values that can be pickled, so that the state may be in another process. Does not know how
requests are answered, and no file.
"""

from __future__ import annotations

from replayproxy.core.sequence import Playhead
from replayproxy.model import Key, RecordingRef, Request
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.views.miss import Miss


class RunState:
    """The state of one run. Each part is bounded in bytes, see `state_bytes`. Without a request log no call is kept."""

    def __init__(
        self,
        playhead: Playhead,
        counters: Counters | None = None,
        misses: Misses | None = None,
        request_log: RequestLog | None = None,
    ) -> None:
        self.playhead = playhead
        self.counters = counters or Counters()
        self.misses = misses or Misses()
        self.request_log = request_log

    # Positions

    def next_occurrence(self, scope: str, key: Key, recorded: int) -> int | None:
        """Return which of so many recordings to play now, or None. The position moves on either way."""
        return self.playhead.next(scope, key, recorded)

    def request_count(self, scope: str, key: Key) -> int:
        """Return how often this scope has sent a request with this key."""
        return self.playhead.request_count(scope, key)

    def has_forgotten(self, scope: str) -> bool:
        """Return whether the positions of this scope were dropped: nothing can be played there until it is reset."""
        return self.playhead.has_forgotten(scope)

    def undo_position(self, scope: str, key: Key) -> None:
        """Take back the last `next_occurrence` of this scope and key."""
        self.playhead.undo(scope, key)

    # Counts, calls and misses

    def count(
        self, outcome: str, request: Request, scope: str, place: RecordingRef | None = None, miss: str | None = None
    ) -> None:
        """Count a request by its outcome, and log the call. `place`: what was played; `miss`: the name of its cause."""
        self.count_only(outcome)
        self.log_call(Call(request, scope, outcome, place, miss))

    def count_only(self, outcome: str) -> None:
        """Count a request that is not logged: a probe, an upgrade."""
        self.counters.requests[outcome] += 1

    def log_call(self, call: Call) -> None:
        """Log a call that is not counted as answered."""
        if self.request_log is not None:
            self.request_log.add(call)

    def note_played(self, place: RecordingRef) -> None:
        """Count a recording as played."""
        self.counters.played[place] += 1

    def note_miss(self, miss: Miss) -> str:
        """Count a miss by its code and remember its cause. Return the name of the cause (`m-0001`)."""
        self.counters.misses[miss.code] += 1
        return self.misses.note(miss)

    def cached_miss(self, key: Key) -> Miss | None:
        """Return what was found out about a request with this key that no recording resembles, if it came before."""
        return self.misses.cached("no_match", key) or self.misses.cached("nothing_close", key)

    def reset(self, scope: str | None = None, *, counts: bool = False) -> None:
        """Go back to the first recordings, in this scope or in all; `counts`: forget counts and misses too."""
        self.playhead.reset(scope)
        if counts:
            self.counters.reset()
            self.misses.clear()

    def state_bytes(self) -> dict[str, int]:
        """Return about how much memory is kept, by part."""
        return {
            "misses": self.misses.bytes,
            "positions": self.playhead.bytes,
            "request_log": 0 if self.request_log is None else self.request_log.bytes,
        }
