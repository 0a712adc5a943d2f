"""Which recording answers a request of the engine: by the ids of its prompt, its LoRA adapter and its media.

Of several recordings of a prompt, one is taken that can serve the request to its end: it has as many logprobs as are
asked for, and ends by itself or is long enough. Among those, equal requests get one after the other. Where none can
answer, the miss names the nearest prompt and the first token that differs. Knows no vLLM and no file.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from replayproxy.vllm_plugin.token_recordings import Sampling, TokenRecording

Ids = tuple[int, ...]
PromptKey = tuple[str | None, tuple[str, ...], Ids]
"""The LoRA adapter, the hashes of the media, and the ids."""

DecodeToken = Callable[[int], str]
"""Returns the text of a token, for messages."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What a request of the engine asks for, as far as it matters which recording answers it."""

    prompt: Ids
    max_tokens: int | None = None
    stop: frozenset[int | str] = frozenset()
    """Stop strings and stop tokens."""
    logprobs: int | None = None
    """How many alternatives per token; None: no logprobs at all."""
    eos: int | None = None
    """The token that ends an answer; None where the request ignores it."""
    lora: str | None = None
    media: tuple[str, ...] = ()
    sampling: Sampling = ()
    """All parameters that change an answer's words."""
    unsupported: str | None = None
    """Why no recording can answer it, whatever its prompt."""

    @property
    def key(self) -> PromptKey:
        """What a recording must have the same."""
        return self.lora, self.media, self.prompt


@dataclass(frozen=True, slots=True)
class EngineMiss:
    """Why no recording answers a request, in a sentence with a way out."""

    message: str


class RecordingIndex:
    """All recordings of some cassettes. `take` counts; everything else asks."""

    def __init__(
        self,
        recordings: Iterable[TokenRecording],
        *,
        at_end: str = "cycle",
        synthetic_logprobs: bool = False,
        decode: DecodeToken | None = None,
    ) -> None:
        self._by_key: dict[PromptKey, list[TokenRecording]] = defaultdict(list)
        self._taken: dict[PromptKey, list[int]] = {}
        """By key: how often each of its recordings was taken."""
        self._at_end = at_end
        self._synthetic_logprobs = synthetic_logprobs
        self._decode = decode
        for recording in recordings:
            self._by_key[recording.lora, recording.media, recording.prompt].append(recording)
        # The longest common prefix of a prompt is with one of its neighbours in sorted order; suffixes likewise.
        self._forwards = sorted({ids for _, _, ids in self._by_key})
        self._backwards = sorted(ids[::-1] for ids in self._forwards)

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    @property
    def prompts(self) -> int:
        """How many different prompts there are."""
        return len(self._by_key)

    @property
    def approximate(self) -> int:
        """How many answers have ids that their server may not have used."""
        return sum(recording.is_approximate for recordings in self._by_key.values() for recording in recordings)

    def take(self, request: EngineRequest) -> TokenRecording | EngineMiss:
        """Return the next recording that can serve the request, or why there is none."""
        recordings = self._by_key.get(request.key)
        if recordings is None:
            return EngineMiss(self._no_such_prompt(request))
        taken = self._taken.setdefault(request.key, [0] * len(recordings))
        fitting = [number for number, recording in enumerate(recordings) if not self._unfit(recording, request)]
        if not fitting:
            return EngineMiss(self._none_fits(recordings, request))
        # Parameters choose among the recordings of a prompt and make no miss: who changes the temperature of a test
        # wants a recorded answer still, and a greedy request must not take what was recorded with a seed.
        other = {number: _other_parameters(recordings[number], request) for number in fitting}
        least = min(other.values())
        fitting = [number for number in fitting if other[number] == least]
        number = min(fitting, key=lambda number: (taken[number], number))
        if taken[number] and self._at_end == "refuse":
            return EngineMiss(
                f"all {len(fitting)} recordings of this prompt have been given: record more answers to it, or set"
                " REPLAYPROXY_AT_END=cycle to begin with the first one again"
            )
        if taken[number] and self._at_end == "last":
            number = fitting[-1]
        taken[number] += 1
        return recordings[number]

    def _unfit(self, recording: TokenRecording, request: EngineRequest) -> str | None:
        """Why a recording of the same prompt cannot serve a request to its end; None where it can."""
        if request.logprobs is not None and not self._synthetic_logprobs:
            if recording.tokens and not recording.logprobs:
                return "it has no logprobs"
            # The first entry of each position is the token itself, whether or not it is among the most likely.
            if min((len(position) for position in recording.logprobs), default=request.logprobs + 1) < request.logprobs:
                return f"it has fewer than {request.logprobs} logprobs per token"
        if (recording.ended_by_itself and request.eos is not None) or recording.stop_reason in request.stop:
            return None
        if request.max_tokens is not None and len(recording.tokens) >= request.max_tokens:
            return None
        reason = f"ends after {len(recording.tokens)} tokens"
        if recording.stop_reason is not None:
            return f"it {reason} at the stop {recording.stop_reason!r}, which this request does not have"
        needed = "as many as fit" if request.max_tokens is None else str(request.max_tokens)
        return f"it {reason} ({recording.finish or 'it does not say why'}), and this request wants {needed}"

    # Misses

    def _none_fits(self, recordings: Sequence[TokenRecording], request: EngineRequest) -> str:
        why = self._unfit(recordings[0], request) or ""
        way_out = ", or set MOCK_COMPUTE_LOGITS=1 for made-up logprobs" if "logprob" in why else ""
        return (
            f"this prompt is recorded ({_named(recordings[0])}), but its answer cannot be used: {why}. Record it again"
            f" with these parameters{way_out}"
        )

    def _no_such_prompt(self, request: EngineRequest) -> str:
        prompt = request.prompt
        what = f"no recording has this prompt of {len(prompt)} tokens"
        others = [key for key in self._by_key if key[2] == prompt]
        if others:
            lora, media, _ = others[0]
            if lora != request.lora:
                return f"{what} for {_adapter(request.lora)}: it is recorded for {_adapter(lora)}"
            return (
                f"{what} and these {len(request.media)} images or other media: it is recorded with {len(media)}."
                " Answers recorded over HTTP do not say which media they saw: capture them in the engine"
            )
        nearest = self.nearest(prompt)
        if nearest is None:
            return f"{what}: there is no recording at all"
        recording = next(recordings[0] for key, recordings in self._by_key.items() if key[2] == nearest)
        same = common_prefix(prompt, nearest)
        return (
            f"{what}; the nearest one ({_named(recording)}) has {len(nearest)} tokens and differs from token"
            f" {same + 1} on: {self._token_at(nearest, same)} there, {self._token_at(prompt, same)} here. Where the"
            " text is the same, the chat template, the tools or the tokenizer differ; otherwise record this prompt"
        )

    def _token_at(self, ids: Ids, position: int) -> str:
        if position >= len(ids):
            return "its end"
        text = "" if self._decode is None else f" {self._decode(ids[position])!r}"
        return f"{ids[position]}{text}"

    def nearest(self, prompt: Ids) -> Ids | None:
        """Return the recorded prompt that shares the longest prefix and suffix with this one.

        Looks at the neighbours in sorted order only: at most four comparisons, however many prompts there are.
        """
        candidates = [*_neighbours(self._forwards, prompt)]
        candidates += [ids[::-1] for ids in _neighbours(self._backwards, prompt[::-1])]
        return max(candidates, key=lambda ids: _alike(prompt, ids), default=None)


def _other_parameters(recording: TokenRecording, request: EngineRequest) -> int:
    """How many of the parameters that were stated have another value now."""
    now = dict(request.sampling)
    return sum(now.get(name) != value for name, value in recording.sampling)


def _neighbours(ordered: Sequence[Ids], ids: Ids) -> list[Ids]:
    place = bisect_left(ordered, ids)
    return list(ordered[max(0, place - 1) : place + 1])


def common_prefix(first: Ids, second: Ids) -> int:
    """Return how many tokens two prompts begin with alike."""
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return number
    return min(len(first), len(second))


def _alike(first: Ids, second: Ids) -> int:
    """How many tokens at the beginning and at the end are the same, each counted once."""
    before = common_prefix(first, second)
    return min(before + common_prefix(first[::-1], second[::-1]), len(first), len(second))


def _named(recording: TokenRecording) -> str:
    return f"exchange {recording.name}" if recording.name else "an unnamed one"


def _adapter(lora: str | None) -> str:
    return "the base model" if lora is None else f"the LoRA adapter {lora!r}"
