"""Read exchanges by their numbers, checked by digest: request, answer, times and legs, wherever the file keeps them.

    number ──▶ exchange ─┬─ payload, answer      most of them
                         ├─ bundle               small ones, several in one frame
                         └─ segments             a stream in flight, or one whose recorder died

Each thread unpacks with a codec of its own. Knows no keys but for the digest, and no cache.
"""

from __future__ import annotations

from collections.abc import Iterator

from replayproxy.cassette import database
from replayproxy.cassette.bundles import Bundle, Packed
from replayproxy.cassette.coding import codec, digests
from replayproxy.cassette.coding.codec import Codec
from replayproxy.cassette.coding.times import timeline_of
from replayproxy.cassette.queries import Queries, typed
from replayproxy.cassette.readers import Reader, Readers
from replayproxy.cassette.stored_keys import key_text
from replayproxy.errors import CassetteError, Damaged
from replayproxy.model import Ending, Exchange, Leg, Request, Response, Timeline


class StoredExchanges:
    """The exchanges of one cassette. All methods raise `Damaged` unless what they give is what was written."""

    def __init__(self, queries: Queries, readers: Readers, *, has_bundles: bool) -> None:
        self._queries = queries
        self._readers = readers
        self._has_bundles = has_bundles
        self._name = queries.name

    def request(self, number: int) -> Request:
        """Return the request as the client sent it, without its secrets."""
        row = self._queries.one(
            "SELECT method, path, payload.request FROM exchange JOIN endpoint ON endpoint.id = exchange.endpoint"
            " LEFT JOIN payload ON payload.exchange = exchange.id WHERE exchange.id = ?",
            number,
        )
        if row[2] is None:
            row = *row[:2], self._bundled(number).request
        method, path, packed = typed(row, str, str, bytes)
        return self.codec_of(number).unpack_request(packed, method, path)

    def whole(self, number: int) -> tuple[Request, Response]:
        """Return the request, and the answer that the client got."""
        row = self._queries.one(
            "SELECT key, method, path, status, ending, response_size, digest, request, answer, times, state"
            " FROM exchange JOIN endpoint ON endpoint.id = exchange.endpoint"
            " LEFT JOIN payload ON payload.exchange = exchange.id"
            " LEFT JOIN answer ON answer.exchange = exchange.id WHERE exchange.id = ?",
            number,
        )
        if row[7] is None:
            packed = self._bundled(number)
            row = *row[:7], packed.request, packed.answer, packed.times, row[10]
        if row[8:10] == (None, b"") and (row[10] == 0 or row[4] == Ending.PROXY_CRASHED):
            return self.request(number), self._in_flight(number)
        key, method, path, status, ending, size, written, packed_request, answer, times = typed(
            row[:10], bytes, str, str, int, int, int, bytes, bytes, bytes, bytes
        )
        unpacker = self.codec_of(number)
        request = unpacker.unpack_request(packed_request, method, path)
        response = unpack_response(unpacker, status, answer, times, size=size, ending=ending)
        if digests.digest(key_text(key), request, response) != written:
            raise Damaged(f"recording {number} in {self._name} is not what was written (its digest differs)")
        return request, response

    def whole_with_legs(self, number: int) -> tuple[Request, Response]:
        """Return the same, its legs checked too.

        No client gets them; but a pair's recording is one recording, and a run that has played it is to prove that it
        was what was written.
        """
        whole = self.whole(number)
        for _ in self._legs(number):
            pass
        return whole

    def exchange(self, number: int) -> Exchange:
        """Return everything about one exchange."""
        row = self._queries.one(
            "SELECT recorded_at, scope, stalled, request_cut, client_left, starved_us FROM exchange WHERE id = ?",
            number,
        )
        recorded_at, scope, stalled, request_cut, client_left, starved = typed(
            row, int, str | None, int | None, int | None, int | None, int | None
        )
        request, response = self.whole(number)
        return Exchange(
            request=request,
            response=response,
            recorded_at=recorded_at,
            legs=tuple(self._legs(number)),
            scope=scope or "",
            stalled=stalled or 0,
            starved=1000 * (starved or 0),
            request_cut=bool(request_cut),
            client_left=bool(client_left),
        )

    def timeline(self, number: int, times: bytes | None) -> Timeline:
        """Return when the head, each chunk and the end came. Unpacks no bodies: 0.2 ms for 150 chunks.

        `times` are the packed times of its row. Nothing is checked by digest.
        """
        if times is None:
            times = self._bundled(number).times
        if not times:
            return self._in_flight(number).timeline
        ticks = self._readers.mine().codec.unpack_times(times)
        if len(ticks) < 2:
            raise Damaged(f"recording {number} in {self._name} has no times")
        return timeline_of(ticks)

    def sizes(self, number: int) -> tuple[int, int, int]:
        """Return how many bytes the file takes for the request, the answer and the times of an exchange."""
        row = self._queries.first(
            "SELECT length(request), coalesce(length(answer), 0), length(times) FROM payload"
            " LEFT JOIN answer USING (exchange) WHERE exchange = ?",
            number,
        )
        if row is None:
            self._bundled(number)
            bundle = self._readers.mine().bundles.holding(number)
            return (0, 0, 0) if bundle is None else bundle.sizes(number)
        request, answer, times = typed(row, int, int, int)
        return request, answer, times

    def bundles(self) -> Iterator[Bundle]:
        """Yield all bundles, for a check of the whole file."""
        for row in self._queries.all("SELECT id FROM bundle ORDER BY id") if self._has_bundles else ():
            (first,) = typed(row, int)
            with database.translated(self._name):
                bundle = self._readers.mine().bundles.holding(first)
            if bundle is None:
                raise Damaged(f"stored bundle {first} in {self._name} is longer than any is")
            yield bundle

    def codec_of(self, *row: object) -> Codec:
        """Return this thread's codec, which has the file's dictionaries, with its budget set to this row."""
        unpacker = self._readers.mine().codec
        unpacker.row = row
        return unpacker

    def _bundled(self, number: int) -> Packed:
        """Return what is stored of an exchange that has no payload of its own."""
        with database.translated(self._name):
            packed = self._readers.mine().bundles.find(number) if self._has_bundles else None
        if packed is None:
            raise CassetteError(f"{self._name} has no such recording: {(number,)}")
        return packed

    def _in_flight(self, number: int) -> Response:
        """Return a stream in flight as far as it was written: all that is left of it if its recorder has died."""
        stored = self._queries.all("SELECT heard FROM segment WHERE exchange = ? ORDER BY position", number)
        if not stored:
            raise Damaged(f"recording {number} in {self._name} has lost its answer: restore it from a copy")
        # Imported here: `ls` and its like read rows without it (tests/cli/test_imports.py).
        from replayproxy.cassette.recovering import cut_at_last, joined

        return cut_at_last(*joined(self.codec_of(number), stored, number))

    def _legs(self, number: int) -> Iterator[Leg]:
        rows = self._queries.each(
            "SELECT role, upstream, method, path, leg.status, leg.ending, started_us, leg.digest, key, request, answer,"
            " times FROM leg JOIN exchange ON exchange.id = leg.exchange WHERE exchange.id = ? ORDER BY leg",
            number,
        )
        for position, row in enumerate(rows, 1):
            role, upstream, method, path, status, ending, started, written, key, packed_request, answer, times = typed(
                row, str, str, str, str, int, int, int, bytes, bytes, bytes, bytes, bytes
            )
            unpacker = self.codec_of("leg", number, position)
            request = unpacker.unpack_request(packed_request, method, path)
            response = unpack_response(unpacker, status, answer, times, size=None, ending=ending)
            leg = Leg(role, upstream, request, response, started * 1000)
            if digests.digest_of_leg(key_text(key), leg) != written:
                raise Damaged(f"the {role} leg of recording {number} in {self._name} is not what was written")
            yield leg


def stored_dictionary(name: str, reader: Reader, number: int) -> tuple[codec.Kind, bytes] | None:
    """Return kind and content of a dictionary of the cassette of this name, for the codec of a thread."""
    with database.translated(name):
        row = reader.first("SELECT kind, content FROM dictionary WHERE id = ?", (number,))
    if row is None:
        return None
    kind, content = typed(row, str, bytes)
    return kind, content


def unpack_response(
    unpacker: Codec, status: int, answer: bytes, times: bytes, *, size: int | None, ending: int
) -> Response:
    """Return a response from its frames. Raises `Damaged`."""
    unpacked = unpacker.unpack_answer(answer, size)
    try:
        ended = Ending(ending)
    except ValueError as error:
        raise Damaged(f"a stored answer ended in a way that does not exist ({ending})") from error
    return codec.response_of(status, unpacked, unpacker.unpack_times(times), ended)
