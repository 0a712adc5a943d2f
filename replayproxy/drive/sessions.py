"""Find the conversations of recorded requests: which request continues which.

    1. `previous_response_id` names the answer that a request continues
    2. its messages begin with those of an earlier request and its answer
    3. its client gave the session a name: a header field, `metadata.session_id`, `conversation`, `prompt_cache_key`
    4. its messages begin with those of an earlier request, whose answer the client has changed

A request waits for another one only if its client did: the answer had ended when the request arrived. Requests of one
session that overlapped in the recording overlap when they are driven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from replayproxy.drive.recorded import RecordedTurn


@dataclass(frozen=True, slots=True)
class SessionTurn:
    """Where a request stands. `predecessor` is the place of the request that it waits for; `turn` counts from 0.

    `continues`: the predecessor's answer is part of what the request says, so that a live answer can replace it.
    """

    session: str
    turn: int = 0
    predecessor: int | None = None
    continues: bool = False


def session_turns(turns: Sequence[RecordedTurn]) -> list[SessionTurn]:
    """The session of each request, in the order of their arrival. A session has the id of its first exchange."""
    found: list[SessionTurn] = []
    index = _Index(turns)
    for place, turn in enumerate(turns):
        predecessor, continues = index.predecessor(place)
        session, number = turn.id, 0
        if predecessor is not None:
            session, number = found[predecessor].session, found[predecessor].turn + 1
        elif turn.thread.key is not None:
            session = index.first_session(turn.thread.key, turn.id)
        found.append(SessionTurn(session, number, predecessor, continues))
        index.add(place, session)
    return found


class _Index:
    """The requests so far, by what a later one may name."""

    def __init__(self, turns: Sequence[RecordedTurn]) -> None:
        self._turns = turns
        self._by_response: dict[str, int] = {}
        self._by_answer: defaultdict[bytes, list[int]] = defaultdict(list)
        self._by_messages: defaultdict[bytes, list[int]] = defaultdict(list)
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        self._sessions: dict[str, str] = {}
        self._extended: set[int] = set()

    def first_session(self, key: str, new: str) -> str:
        """The session of this name, which is `new` where it is the first of it."""
        return self._sessions.get(key, new)

    def predecessor(self, place: int) -> tuple[int | None, bool]:
        """The request that this one waits for, and whether it continues its messages."""
        turn = self._turns[place]
        thread = turn.thread
        named = self._by_response.get(thread.previous_id or "")
        if named is not None and self._turns[named].ended <= turn.at:
            return named, True
        for digest in reversed(thread.prefixes[:-1]):
            if (found := self._latest(self._by_answer.get(digest, ()), turn)) is not None:
                self._extended.add(found)
                return found, True
        if thread.key is not None:
            ended = [one for one in self._by_key[thread.key] if self._turns[one].ended <= turn.at]
            return max(ended, key=lambda one: self._turns[one].ended, default=None), False
        for digest in reversed(thread.prefixes[:-1]):
            if (found := self._latest(self._by_messages.get(digest, ()), turn)) is not None:
                self._extended.add(found)
                return found, False
        return None, False

    def add(self, place: int, session: str) -> None:
        """Note a request, for those after it."""
        thread = self._turns[place].thread
        if thread.response_id is not None:
            self._by_response[thread.response_id] = place
        if thread.continued is not None:
            self._by_answer[thread.continued].append(place)
        if thread.prefixes:
            self._by_messages[thread.prefixes[-1]].append(place)
        if thread.key is not None:
            self._by_key[thread.key].append(place)
            self._sessions.setdefault(thread.key, session)

    def _latest(self, places: Sequence[int], turn: RecordedTurn) -> int | None:
        """The latest of these whose answer had ended; one that no other request continues is preferred."""
        ended = [
            one
            for one in places[-64:]
            if self._turns[one].ended <= turn.at and self._turns[one].thread.key == turn.thread.key
        ]
        free = [one for one in ended if one not in self._extended]
        return (free or ended)[-1] if ended else None
