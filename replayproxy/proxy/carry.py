"""`--carry`: which fresh ids stand for which recorded ones in each scope, for matching and in answers.

    request as received ──▶ with the ids of its scope ──▶ nearest recordings, one of which it stands for ──▶ miss
                    a recording?                  a recording?                             exactly one?

What is certain of one request is decided in `core/identity/fresh_ids`; here, that over a run no id stands for two, that
no second recording fits as well, and that each use is counted. Knows no socket and no recording but by its port.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from replayproxy.core.answer_ids import answer_with_ids
from replayproxy.core.coding import body_of
from replayproxy.core.identity.fresh_ids import Uncertain, fresh_ids, id_words, may_hold_fresh_ids, with_ids
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.preparing import is_heavy, sketch_of
from replayproxy.core.redaction import Redactor
from replayproxy.model import Key, RecordingRef, Request, Response
from replayproxy.ports import Neighbour, RecordingStore, Worker
from replayproxy.proxy.carried_ids import CarriedUse
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.miss_search import ScopedRequest

COMPARED = 64
"""Recordings that a request is compared with: each one that fits as well makes it uncertain. 0.1 ms each for a chat."""

MOST_SCOPES, MOST_IDS = 1000, 256
"""Scopes, and ids of each, that are remembered; an id has at most 128 characters, so 100 MB at the very most."""

SHORT = 16 * 1024
"""Bytes of an answer that is changed within the event loop; a longer one in a thread."""


@dataclass(slots=True)
class _ScopeIds:
    recorded: dict[str, str] = field(default_factory=dict)
    """By the fresh one."""
    fresh: dict[str, set[str]] = field(default_factory=dict)
    """By the recorded one. A conversation that is replayed again mints others, so there may be several."""


@dataclass(frozen=True, slots=True)
class _Substitution:
    """The key to look for, and the recorded id of each fresh one in the request."""

    key: Key
    ids: Mapping[str, str]


def fits(
    matcher: Matcher, request: Request, neighbours: Sequence[Neighbour]
) -> tuple[Mapping[Key, Mapping[str, str]], str]:
    """The ids by which a request stands for recordings, by their key; and why it does not stand for the nearest."""
    found: dict[Key, Mapping[str, str]] = {}
    why = ""
    words = _words(request)
    for neighbour in neighbours:
        key = matcher.key(neighbour.request)
        if key in found:
            continue
        try:
            found[key] = fresh_ids(matcher, neighbour.request, request)
        except Uncertain as reason:
            why = why or str(reason)
    if found:
        recorded = {word for one in neighbours for word in _words(one.request)}
        # Attack: a tool that names an object of another recording. Its id is not fresh, and has an answer of its own.
        for ids in found.values():
            if old := next((id for id in ids if id in words and id in recorded), None):
                return {}, f"`{old}` is not fresh: it stands in another recording"
    return found, why


def with_recorded_ids(
    matcher: Matcher, request: Request, recorded: Mapping[str, str]
) -> tuple[Request, Mapping[str, str], Key]:
    """The request by the recorded ids that its words stand for, those ids, and its key.

    Raises `Uncertain` where it names both of a pair, or two that stand for one.
    """
    words = _words(request)
    ids = {now: was for now, was in recorded.items() if now in words}
    if both := next((now for now, was in ids.items() if was in words), None):
        raise Uncertain(f"it names `{both}` and also `{ids[both]}`, for which that stood before")
    if len(set(ids.values())) < len(ids):
        raise Uncertain("two of its ids stood for the same recorded id before")
    received = with_ids(request, ids)
    return received, ids, matcher.key(received)


def _words(request: Request) -> set[str]:
    return set(id_words(body_of(request).decode("utf-8", "replace")))


class Carry:
    """The ids of a run. `counters` gets each use, without secrets."""

    def __init__(self, store: RecordingStore, matcher: Matcher, worker: Worker, counters: Counters) -> None:
        self._store = store
        self._matcher = matcher
        self._worker = worker
        self._counters = counters
        self._redactor = matcher.redactor or Redactor(b"")
        self._scopes: OrderedDict[str, _ScopeIds] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Carry {sum(len(scope.recorded) for scope in self._scopes.values())} ids>"

    async def resolved(self, scoped: ScopedRequest) -> ScopedRequest:
        """The same request with the key of the recording that it stands for, where it has no recording itself.

        Raises `CassetteError`.
        """
        key = scoped.key or ""
        if self._store.count(key) or self._store.count_broken(key):
            return scoped
        try:
            found = await self._substituted(scoped.scope, scoped.request)
        except Uncertain as reason:
            return replace(scoped, not_carried=str(reason))
        return replace(scoped, key=found.key, ids=found.ids)

    async def _substituted(self, scope: str, request: Request) -> _Substitution:
        """The recorded request that one without a recording stands for. Raises `Uncertain`, `CassetteError`."""
        kept = self._scopes.get(scope)
        ids: Mapping[str, str] = {}
        received = request
        if kept is not None:
            run = self._worker.run if is_heavy(body_of(request)) else self._store.aside
            received, ids, key = await run(with_recorded_ids, self._matcher, request, dict(kept.recorded))
            if ids and self._store.count(key):
                return _Substitution(key, ids)
        if not may_hold_fresh_ids(received):
            raise Uncertain("no tool has written into the request" if not ids else "it differs in more than ids")
        neighbours = await self._store.aside(self._neighbours, received)
        bodies = [body_of(one) for one in (received, *(neighbour.request for neighbour in neighbours))]
        compare = self._worker.run if any(map(is_heavy, bodies)) else self._store.aside
        found, why = await compare(fits, self._matcher, received, neighbours)
        playable = {one: more for one, more in found.items() if self._store.count(one)}
        if len(playable) > 1:
            names = [one.id for one in neighbours if self._matcher.key(one.request) in playable]
            raise Uncertain(f"{len(playable)} recordings fit it equally well: {', '.join(names[:4])}")
        if not playable:
            raise Uncertain(why or "no recording resembles it")
        ((key, more),) = playable.items()
        every = {**ids, **more}
        if len(set(every.values())) < len(every):
            raise Uncertain("two fresh ids would stand for the same recorded id")
        self._learn(scope, more)
        return _Substitution(key, every)

    async def answer(
        self, scope: str, request: Request, response: Response, ids: Mapping[str, str], place: RecordingRef
    ) -> Response:
        """The answer with fresh ids in the place of recorded ones. Raises `Uncertain`.

        `ids` are those of the request. An answer may name others of the same scope, where one alone stands for them;
        what the request itself calls by its recorded id keeps it.
        """
        kept = self._scopes.get(scope)
        if kept is None:
            return response
        fresh = {was: now for now, was in ids.items()}
        several: dict[str, str] = {}
        heavy = is_heavy(body_of(request))
        words = await self._store.aside(_words, request) if heavy else _words(request)
        for was, all_of_it in kept.fresh.items():
            if was not in fresh and was not in words:
                (fresh if len(all_of_it) == 1 else several)[was] = next(iter(all_of_it))
        if not fresh and not several:
            return response
        if several:
            _, ambiguous = await self._changed(response, several)
            if ambiguous:
                raise Uncertain(f"`{min(ambiguous)}` in the recorded answer has several fresh ids in this scope")
        changed, named = await self._changed(response, fresh)
        credentials = self._redactor.credentials(request)
        uses = [(was, now, True) for now, was in ids.items()] + [(was, fresh[was], False) for was in sorted(named)]
        for was, now, in_request in uses:
            shown, recorded, received = (self._redactor.text(text, credentials) for text in (scope, was, now))
            use = CarriedUse(shown, self._store.short_id(place), recorded, received)
            self._counters.carry(use, requests=int(in_request), answers=int(not in_request))
        return changed

    def reset(self, scope: str | None = None) -> None:
        """Forget the ids of one scope, or of all."""
        if scope is None:
            self._scopes.clear()
        else:
            self._scopes.pop(scope, None)

    async def _changed(self, response: Response, ids: Mapping[str, str]) -> tuple[Response, frozenset[str]]:
        if len(response.body) <= SHORT:
            return answer_with_ids(response, ids)
        run = self._worker.run if is_heavy(response.body) else self._store.aside
        return await run(answer_with_ids, response, ids)

    def _neighbours(self, request: Request) -> list[Neighbour]:
        return self._store.near(request.method, request.path, sketch_of(self._matcher, request), COMPARED)

    def _learn(self, scope: str, ids: Mapping[str, str]) -> None:
        kept = self._scopes.setdefault(scope, _ScopeIds())
        self._scopes.move_to_end(scope)
        while len(self._scopes) > MOST_SCOPES:
            self._scopes.popitem(last=False)
        for now, was in ids.items():
            if kept.recorded.get(now, was) != was:
                raise Uncertain(f"`{now}` stood for `{kept.recorded[now]}` before, and would stand for `{was}` now")
        for now, was in ids.items():
            kept.recorded[now] = was
            kept.fresh.setdefault(was, set()).add(now)
        while len(kept.recorded) > MOST_IDS:
            now = next(iter(kept.recorded))
            was = kept.recorded.pop(now)
            kept.fresh[was].discard(now)
            if not kept.fresh[was]:
                del kept.fresh[was]
