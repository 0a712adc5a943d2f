"""What is changed in a recorded request before it is sent: model, fields of the body, length of the answer, salt.

A request of which nothing is changed keeps the bytes of its body. Each gets an id of the run and the note by which
`compare` joins it with its recording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from replayproxy.core.coding import body_of
from replayproxy.core.dialects.dialect import Json
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.headers import without
from replayproxy.drive.plan import PlannedRequest
from replayproxy.errors import SettingsError
from replayproxy.model import Request
from replayproxy.views.pairing import SOURCE_HEADER

SALTS = ("run", "loop", "session", "request")


@dataclass(frozen=True, slots=True)
class RequestChanges:
    """What `drive` changes. `models` is by the recorded name; `""` stands for all others."""

    run: str
    models: Mapping[str, str] | None = None
    fields: tuple[tuple[tuple[str, ...], Any], ...] = ()
    force_length: bool = False
    """Set the most tokens to the recorded number of output tokens, and `ignore_eos`."""
    salt: str | None = None
    """Which requests share a salt: those of one `run`, `loop` or `session`; or each `request` has its own."""

    def of(self, request: Request, planned: PlannedRequest, body: Json | None = None) -> Request:
        """The request as it is sent. `body`: in place of its own, such as one with another history."""
        fields = without(request.headers, "x-request-id", SOURCE_HEADER)
        loop = f";loop={planned.loop}" if planned.loop else ""
        noted = (
            *fields,
            ("X-Request-Id", f"rp-{self.run}-{planned.place}-{planned.loop}"),
            ("X-Replayproxy-Source", f"{planned.turn.id}{loop}"),
        )
        content = parsed(body_of(request)) if body is None else body
        changed = self._changed(content, planned) if content else content
        if not content or (body is None and changed is content):
            return replace(request, headers=noted)
        return replace(
            request,
            headers=without(noted, "content-encoding", "content-length"),
            body=orjson.dumps(changed),
            undone=None,
        )

    def _changed(self, body: Json, planned: PlannedRequest) -> Json:
        changed = body
        if self.models is not None and isinstance(model := body.get("model"), str):
            new = self.models.get(model, self.models.get("", model))
            if new != model:
                changed = {**changed, "model": new}
        if self.force_length and planned.turn.output_tokens and planned.turn.constraint is None:
            changed = with_length(changed, planned.turn.output_tokens)
        for path, value in self.fields:
            changed = with_field(changed, path, value)
        if self.salt is not None:
            changed = with_salt(changed, self._salt(planned, self.salt))
        return changed

    def _salt(self, planned: PlannedRequest, shared: str) -> str:
        parts: list[object] = [self.run]
        if shared != "run":
            parts.append(planned.loop)
        if shared == "session":
            parts.append(planned.session)
        if shared == "request":
            parts.append(planned.place)
        return blake2b(orjson.dumps(parts), digest_size=6).hexdigest()


def with_length(body: Json, tokens: int) -> Json:
    """A request whose answer has exactly so many tokens on a server that knows `ignore_eos` (vLLM, SGLang)."""
    names = ("max_completion_tokens", "max_output_tokens")
    name = next((one for one in names if one in body), "max_tokens")
    forced = {key: value for key, value in body.items() if key != "min_tokens"}
    return {**forced, name: tokens, "ignore_eos": True}


def with_field(body: Json, path: Sequence[str], value: Any) -> Json:
    """The same body with a value at a path of names; objects on the way are made where there are none."""
    name, *rest = path
    inner = body.get(name)
    return {**body, name: with_field(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def with_salt(body: Json, salt: str) -> Json:
    """The same request with other first characters, so that no prefix cache has it; token ids get a `cache_salt`."""
    text = f"[{salt}] "
    system = body.get("system")
    if isinstance(system, str):
        return {**body, "system": text + system}
    messages = body.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        return {**body, "messages": [_salted(messages[0], text), *messages[1:]]}
    for name in ("instructions", "prompt", "input"):
        if isinstance(value := body.get(name), str):
            return {**body, name: text + value}
    return {**body, "cache_salt": salt}


def _salted(message: Json, text: str) -> Json:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [{"type": "text", "text": text}, *content]}
    return {**message, "content": text + content if isinstance(content, str) else text}


# Options as people write them


def models_of(texts: Sequence[str]) -> Mapping[str, str] | None:
    """`old=new` by the old name, and `new` for all. Raises `SettingsError`."""
    models: dict[str, str] = {}
    for text in texts:
        old, mark, new = text.partition("=")
        if not mark:
            old, new = "", text
        if not new:
            raise SettingsError(f"--model {text} names no new model: write --model OLD=NEW, or --model NEW for all")
        models[old] = new
    return models or None


def field_of(text: str) -> tuple[tuple[str, ...], Any]:
    """`temperature=0`, `body.stream_options.include_usage=true`: JSON where it is JSON, else text."""
    name, mark, value = text.partition("=")
    path = tuple(name.strip().removeprefix("body.").split("."))
    if not mark or not all(path):
        raise SettingsError(f"--set {text} is not NAME=VALUE: write --set temperature=0")
    try:
        return path, orjson.loads(value)
    except orjson.JSONDecodeError:
        return path, value
