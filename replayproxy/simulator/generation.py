"""What a request wants generated, whatever its dialect; and what it gets: the tokens in their parts.

An endpoint makes a `GenerationRequest` of a body; the composer makes an `InventedAnswer` of it; the endpoint's writer
puts its tokens into frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from replayproxy.errors import SettingsError, setting
from replayproxy.setting_table import default
from replayproxy.simulator.language import Language
from replayproxy.simulator.tokens import Token, text_of

REASONING, TEXT, TOOL_CALL = "reasoning", "text", "tool_call"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema."""

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`kind` is `none`, `auto`, `required`, or `named` with the tool's name in `name`."""

    kind: str = "none"
    name: str = ""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt and its options. `limit` is how many tokens there is room for: `max_tokens`, and the context."""

    prompt: Sequence[int]
    echo: str
    """What echo mode repeats."""
    limit: int
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    keep_stop: bool = False
    """Whether the answer contains the stop string (`include_stop_str_in_output`)."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    schema: Any = None
    """A JSON schema that the text must match; None: any text."""
    options: tuple[str, ...] = ()
    """Texts, one of which the answer must be."""
    language: Language | None = None
    """What the text must belong to: a regular expression or a grammar."""
    reasoning_tokens: int = 0
    """How many tokens of reasoning come before the text."""


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """Tokens of one kind. A tool call has a name and an id."""

    kind: str
    tokens: tuple[Token, ...]
    name: str = ""
    call_id: str = ""

    @property
    def text(self) -> str:
        """Its text: of a tool call the arguments."""
        return text_of(self.tokens)


@dataclass(frozen=True)
class InventedAnswer:
    """All tokens of one choice. A tool call's name is a token of its own, which the part does not hold."""

    parts: tuple[AnswerPart, ...]
    finish_reason: str
    stop_reason: str | int | None = None

    @cached_property
    def steps(self) -> tuple[tuple[int, Token | None], ...]:
        """One step of the engine each: the number of the part, and its token; None is the name of a tool call."""
        found: list[tuple[int, Token | None]] = []
        for number, part in enumerate(self.parts):
            if part.kind == TOOL_CALL:
                found.append((number, None))
            found += [(number, token) for token in part.tokens]
        return tuple(found)

    def text_of(self, kind: str) -> str:
        """The text of all parts of a kind."""
        return "".join([part.text for part in self.parts if part.kind == kind])

    @property
    def tool_calls(self) -> tuple[AnswerPart, ...]:
        """The tool calls, in their order."""
        return tuple(part for part in self.parts if part.kind == TOOL_CALL)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens that have a text, in their order."""
        return tuple(token for part in self.parts for token in part.tokens)

    @property
    def reasoning_tokens(self) -> int:
        """How many tokens are reasoning."""
        return sum(len(part.tokens) for part in self.parts if part.kind == REASONING)


@dataclass(frozen=True, slots=True)
class ToolRanges:
    """Limits of what is invented for tools and JSON schemas, those of llm-d-inference-sim. Both ends are included."""

    min_integer: int = default("min_tool_call_integer_param")
    max_integer: int = default("max_tool_call_integer_param")
    min_number: float = default("min_tool_call_number_param")
    max_number: float = default("max_tool_call_number_param")
    min_array: int = default("min_tool_call_array_param_length")
    max_array: int = default("max_tool_call_array_param_length")

    def __post_init__(self) -> None:
        for name, least, most in (
            ("tool_call_integer_param", self.min_integer, self.max_integer),
            ("tool_call_number_param", self.min_number, self.max_number),
            ("tool_call_array_param_length", self.min_array, self.max_array),
        ):
            if least > most:
                raise SettingsError(
                    f"{setting(f'min_{name}', f'{least:g}')} is more than {setting(f'max_{name}', f'{most:g}')}: give"
                    " both so that there is a value between them"
                )


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How answers are invented. Probabilities are in percent."""

    mode: str = default("answer_mode")
    words: bool = False
    """Random words instead of sentences."""
    length: str = default("answer_length")
    """`histogram` or `max`: how long an answer is that has `max_tokens`."""
    reasoning_tokens: int = default("reasoning_tokens")
    optional_parameter: int = default("tool_call_not_required_param_probability")
    """How likely a parameter is there that is not required."""
    optional_field: int = default("object_tool_call_not_required_field_probability")
    """The same for a field of an object."""
    extra_call: int = default("tool_call_extra_call_probability")
    """How likely there is one more tool call."""
    ranges: ToolRanges = ToolRanges()
    corpus: tuple[str, ...] = field(default=(), repr=False)
    """The answers of mode `cassette`."""
