"""What is asked and answered in the measurements: chats as clients send them, events as vLLM 0.32 sends them.

Everything follows from the number of the chat, so that the double, the load and the judge agree without talking. Knows
no socket and no clock.
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass

import orjson

PATH = "/v1/chat/completions"

EXTRA_EVENTS = 3
"""Around the tokens of an answer: the role before, the finish reason and `[DONE]` after."""

WORDS = re.findall(
    r"\w+",
    "the the the of of to to a a in in is and and and that for it as with on by be this are or an from at "
    "which not can value list string object model file name return returns default class method function "
    "module type instance data time system path key set number argument error called given into then each "
    "more than will when garden river machine story light theory music ocean decode prefill attention "
    "cache stream token proxy ",
)


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat: its number, and how many tokens its answer has."""

    number: int
    tokens: int

    @property
    def body(self) -> bytes:
        """The request body."""
        chance = random.Random(-self.number - 1)
        question = " ".join(chance.choices(WORDS, k=chance.randint(20, 80)))
        return orjson.dumps(
            {
                "model": "tiny",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant. Answer briefly and name your sources."},
                    {"role": "user", "content": f"Chat {self.number}: {question}?"},
                ],
                "stream": True,
                "temperature": 0,
                "max_tokens": self.tokens,
            }
        )

    @property
    def events(self) -> list[bytes]:
        """The answer's events, about 210 bytes each."""
        chance = random.Random(self.number)
        start = (
            f'data: {{"id":"chatcmpl-{chance.getrandbits(64):016x}","object":"chat.completion.chunk",'
            f'"created":{1795180642 + self.number},"model":"tiny","choices":[{{"index":0,"delta":{{'
        ).encode()
        role = (
            b'"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],'
            b'"prompt_token_ids":null,"prompt_text":null}\n\n'
        )
        token = b'},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
        finish = (
            b'"content":""},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}],'
            b'"system_fingerprint":"vllm-0.32.0-bdf10784"}\n\n'
        )
        said = chance.choices(WORDS, k=self.tokens)
        return [
            start + role,
            *(b'%b"content":" %b"%b' % (start, word.encode(), token) for word in said),
            start + finish,
            b"data: [DONE]\n\n",
        ]

    @property
    def checksum(self) -> int:
        """CRC-32 of the whole answer."""
        return zlib.crc32(b"".join(self.events))


def asked(body: bytes) -> Chat:
    """The chat that a request body asks for."""
    found = re.search(rb'"Chat (\d+):.*"max_tokens":(\d+)', body)
    if found is None:
        raise ValueError(f"not one of our chats: {body[:200]!r}")
    return Chat(int(found[1]), int(found[2]))
