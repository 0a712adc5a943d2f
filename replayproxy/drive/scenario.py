"""Four ready load tests that need no recording: users, unit, prefix-cache, chunked-prefill. Pure.

    ScenarioOptions ──▶ phases_of ──▶ Phase: requests, and whether they are sent together or in turn

The tests and their parameters are those of the guide of a vLLM for Sophon TPUs: four users who ask at once, one batch
of a given length (`test_model.py`), four questions about one article, five long prompts at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from replayproxy.drive.plan import DrivePlan, PlanOptions, plan_of
from replayproxy.drive.recorded import RecordedTurn, Thread
from replayproxy.model import Request

SCENARIOS = ("users", "unit", "prefix-cache", "chunked-prefill")

TOKENS_PER_WORD = 1.3
"""Of English text, where the server has no `/tokenize`."""

WARMUP, RUN = "warmup", "run"

QUESTIONS = (
    "What is deep learning? Explain it to a beginner.",
    "Describe how a ship is unloaded in a modern harbour.",
    "Why is the sky blue during the day and red in the evening?",
    "Write a short story about a lighthouse keeper and a storm.",
    "How does a compiler turn a program into machine code?",
    "Compare trains and aeroplanes for a journey of five hundred kilometres.",
    "What should a company consider before it moves its servers?",
    "Explain the water cycle and why it matters for farming.",
)

ABOUT_ARTICLE = (
    "Which places does the article mention first?",
    "Summarise the article in three sentences.",
    "Who works in the places that the article describes, and what do they do?",
    "What changes during the year, according to the article?",
)

_PLACES = ("harbour", "market", "library", "station", "workshop", "school", "museum", "mill", "bridge", "garden")
_PEOPLE = ("captain", "teacher", "baker", "engineer", "librarian", "farmer", "painter", "doctor", "pilot", "gardener")
_ACTIONS = ("opens", "repairs", "measures", "describes", "visits", "paints", "counts", "closes", "records", "cleans")
_TIMES = ("in spring", "every morning", "during the winter", "after the rain", "at noon", "before the holidays")


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """Parameters of a scenario. Lengths are in tokens. `run` makes prompts that no earlier run has left in a cache."""

    name: str
    model: str
    run: str
    users: int = 4
    batch: int = 1
    input_length: int | None = None
    max_new_tokens: int = 128
    mode: str = "chat"

    @property
    def prompt_tokens(self) -> int | None:
        """About how many tokens a prompt has; None: a question as it is."""
        defaults = {"users": None, "unit": 128, "prefix-cache": 1000, "chunked-prefill": 600}
        return self.input_length if self.input_length is not None else defaults[self.name]


@dataclass(frozen=True, slots=True)
class Phase:
    """Requests that are sent together, or `in_turn`: each after the answer before. `names` are those of their logs."""

    name: str
    requests: tuple[Request, ...]
    names: tuple[str, ...]
    in_turn: bool = False

    def plan(self) -> DrivePlan:
        """What the driver carries out; the n-th request is number n of its reader."""
        thread = Thread(key="scenario") if self.in_turn else Thread()
        turns = [
            RecordedTurn(number, f"{number:08x}", number * self.in_turn, 0, thread=thread)
            for number in range(len(self.requests))
        ]
        return plan_of(turns, PlanOptions())


def phases_of(options: ScenarioOptions, tokens_per_word: float = TOKENS_PER_WORD) -> tuple[Phase, ...]:
    """The phases of a scenario: a warm-up with other prompts, then the run; prefix-cache has no warm-up."""
    match options.name:
        case "prefix-cache":
            words = round((options.prompt_tokens or 0) / tokens_per_word)
            article = f"Document {options.run}. {text_of_words(words, f'article {options.run}')}"
            prompts = [f"{article}\n\n{question}" for question in ABOUT_ARTICLE]
            names = tuple(f"run_question{number}" for number in range(1, len(prompts) + 1))
            return (Phase(RUN, _requests(options, prompts), names, in_turn=True),)
        case "chunked-prefill":
            count, suffix = 5, "_prefill"
        case "unit":
            count, suffix = options.batch, ""
        case _:
            count, suffix = options.users, ""
    return tuple(
        Phase(
            phase,
            _requests(options, [_prompt(options, phase, number, tokens_per_word) for number in range(count)]),
            tuple(f"{phase}_{number}{suffix}" for number in range(1, count + 1)),
        )
        for phase in (WARMUP, RUN)
    )


def _prompt(options: ScenarioOptions, phase: str, number: int, tokens_per_word: float) -> str:
    """A prompt whose first words no other one has."""
    begin = f"[{options.run} {phase} {number}] "
    if options.prompt_tokens is None:
        return begin + QUESTIONS[number % len(QUESTIONS)]
    words = max(1, round(options.prompt_tokens / tokens_per_word) - 4)
    return begin + text_of_words(words, f"{options.run} {phase} {number}")


def text_of_words(count: int, seed: str) -> str:
    """Sentences of so many words; the same for the same seed."""
    draw = random.Random(seed)
    words: list[str] = []
    while len(words) < count:
        person, place, action, time = map(draw.choice, (_PEOPLE, _PLACES, _ACTIONS, _TIMES))
        words += f"The {person} of the old town {action} the {place} {time}.".split()
    return " ".join(words[:count])


def _requests(options: ScenarioOptions, prompts: Sequence[str]) -> tuple[Request, ...]:
    return tuple(_request(options, prompt) for prompt in prompts)


def _request(options: ScenarioOptions, prompt: str) -> Request:
    body: dict[str, Any] = {"model": options.model, "max_tokens": options.max_new_tokens, "temperature": 0}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if options.name in ("unit", "chunked-prefill"):
        body["ignore_eos"] = True  # a benchmark of decoding needs answers of one length
    if options.mode == "generate":
        path, body["prompt"] = "/v1/completions", prompt
    else:
        path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": prompt}]
    return Request("POST", path, (("Content-Type", "application/json"),), orjson.dumps(body))
