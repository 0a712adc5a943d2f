"""Fixtures of aimock, in JSON: what a request is matched by, and the content of the answer.

`{"fixtures": [{match: {userMessage, systemMessage, model, …}, response: {content | toolCalls}, recordedTimings:
{ttftMs, interChunkDelaysMs, totalDurationMs}}]}` (CopilotKit/aimock 1.43). A fixture has no request and no bytes:
both are made of what it matches and says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from replayproxy.formats.bodies import located, number_in, object_in
from replayproxy.formats.chat_answers import chat_exchange, chat_request, completion_of, streamed_chat
from replayproxy.formats.format import Beat, Format, ImportedExchange, Kept, Notes, Part
from replayproxy.formats.source import SourceFile
from replayproxy.model import Exchange

NO_TEXT, NO_ANSWER = "a fixture that does not match one text of a user", "a fixture without content and tool calls"


def read(source: SourceFile, notes: Notes) -> Iterator[ImportedExchange]:
    """Read the fixtures whose request can be made."""
    document = source.document()
    fixtures = document.get("fixtures") if isinstance(document, dict) else None
    if not isinstance(fixtures, list):
        raise source.error("there are no fixtures in it")
    for number, fixture in enumerate(fixtures):
        with located(source.error, f"fixture {number + 1}"):
            if not isinstance(fixture, dict):
                raise ValueError("it is not an object")
            match, answer = object_in(fixture, "match"), object_in(fixture, "response")
            if not isinstance(match.get("userMessage"), str):
                notes.skipped[NO_TEXT] += 1
            elif not ({"content", "toolCalls"} & answer.keys()):
                notes.skipped[NO_ANSWER] += 1
            else:
                yield _exchange(fixture, match, answer, source.modified_at + number * 1000)


def _exchange(
    fixture: Mapping[str, Any], match: Mapping[str, Any], response: Mapping[str, Any], at: int
) -> ImportedExchange:
    model = match.get("model") if isinstance(match.get("model"), str) else response.get("model")
    model = model if isinstance(model, str) else "unknown"
    system = match.get("systemMessage")
    system = "\n".join(map(str, system)) if isinstance(system, list) else system
    messages = [{"role": "system", "content": system}] if isinstance(system, str) else []
    messages.append({"role": "user", "content": match["userMessage"]})
    content = response.get("content") if isinstance(response.get("content"), str) else None
    calls = [_call(call, place) for place, call in enumerate(response.get("toolCalls") or ()) if isinstance(call, dict)]
    message = {"content": content, **({"tool_calls": calls} if calls else {})}
    if isinstance(response.get("reasoning"), str):
        message["reasoning"] = response["reasoning"]
    finish = str(response.get("finishReason") or ("tool_calls" if calls else "stop"))
    answer = completion_of(message, model, finish, response.get("usage"), str(response.get("id") or ""))
    timings = fixture.get("recordedTimings")
    if not isinstance(timings, dict):
        return ImportedExchange(
            chat_exchange(chat_request({"model": model, "messages": messages}), answer, at), Beat.NONE
        )
    request = chat_request({"model": model, "messages": messages, "stream": True})
    first, total = (round(number_in(timings, name) * 1e6) for name in ("ttftMs", "totalDurationMs"))
    gaps = timings.get("interChunkDelaysMs")
    delays = [round(number_in({"ms": gap}, "ms") * 1e6) for gap in gaps] if isinstance(gaps, list) else []
    pieces = _pieces(content, len(delays) + 1) if content else []
    return ImportedExchange(
        Exchange(request, streamed_chat(answer, first, total, delays[: max(0, len(pieces) - 1)], pieces), at),
        Beat.EVENTS,
    )


def _call(call: Mapping[str, Any], place: int) -> dict[str, Any]:
    function = {"name": str(call.get("name", "")), "arguments": str(call.get("arguments", ""))}
    return {"id": str(call.get("id") or f"call_{place}"), "type": "function", "function": function}


def _pieces(content: str, count: int) -> list[str]:
    """A text in so many pieces of equal length, or as many as it has characters."""
    size = max(1, -(-len(content) // max(1, count)))
    return [content[start : start + size] for start in range(0, len(content), size)]


def recognises(source: SourceFile) -> bool:
    """Whether the file begins like fixtures."""
    beginning = source.beginning.lstrip()
    return beginning.startswith(b"{") and b'"fixtures"' in beginning[:4096] and b'"match"' in beginning


AIMOCK = Format(
    name="aimock",
    title="fixtures of aimock",
    keeps={Part.TIMES: Kept.PARTLY, Part.REQUEST: Kept.PARTLY},
    loses="Bytes, frames, ids, log probabilities, header fields, parameters of requests, arrivals. A request"
    " has the system and user text and the model that the fixture matches; its stream has as many equal"
    " pieces as there were gaps.",
    suffix=".json",
    read=read,
    recognises=recognises,
)
