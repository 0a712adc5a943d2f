"""Texts of tokens, with a tokenizer and without one."""

from __future__ import annotations

from collections.abc import Sequence

from replayproxy.vllm_plugin.vocabulary import Vocabulary


class Letters:
    """Token 0 is `a`; tokens 3 and 4 are parts of characters; 5 is special."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """The end."""
        return [5]

    def __len__(self) -> int:
        return 6

    def decode(self, ids: list[int]) -> str:
        """A letter each."""
        return "".join("abc??."[id] for id in ids)


def test_a_token_has_a_text_and_a_text_has_tokens() -> None:
    """Several, where their texts are alike. The model may be padded beyond its tokenizer."""
    vocabulary = Vocabulary(Letters(), 64)
    assert (vocabulary.size, vocabulary.text(1), vocabulary.text(60)) == (6, "b", "")
    assert (vocabulary.find("?"), vocabulary.find("zz")) == ([3, 4], ())
    assert vocabulary.ordinary == [0, 1, 2, 3, 4]


def test_without_a_tokenizer_there_are_only_ids() -> None:
    """`--skip-tokenizer-init`."""
    vocabulary = Vocabulary(None, 3)
    assert (vocabulary.text(1), vocabulary.find("a"), vocabulary.ordinary) == ("", (), [0, 1, 2])
