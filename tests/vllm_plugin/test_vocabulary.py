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
        """A letter each; 3 and 4 together are one."""
        return "".join("abc\ufffd\ufffd."[id] for id in ids).replace("\ufffd\ufffd", "é")


def test_a_token_has_a_text_and_a_text_has_tokens() -> None:
    """Several, where their texts are alike. The model may be padded beyond its tokenizer."""
    vocabulary = Vocabulary(Letters(), 64)
    assert (vocabulary.size, vocabulary.text(1), vocabulary.text(60)) == (6, "b", "")
    assert [list(vocabulary.find(text)) for text in ("c", "zz")] == [[2], []]
    assert vocabulary.ordinary == [0, 1, 2, 3, 4]


def test_a_part_of_a_character_reads_as_what_it_completes() -> None:
    """As vLLM shows it: the character behind its other parts, else nothing."""
    vocabulary = Vocabulary(Letters(), 64)
    assert list(vocabulary.find("")) == [3, 4]
    assert list(vocabulary.find("", before=[0])) == [3, 4]
    assert list(vocabulary.find("é", before=[0, 3])) == [3, 4]
    assert list(vocabulary.find("", before=[0, 3])) == []


def test_without_a_tokenizer_there_are_only_ids() -> None:
    """`--skip-tokenizer-init`."""
    vocabulary = Vocabulary(None, 3)
    assert (vocabulary.text(1), list(vocabulary.find("a")), vocabulary.ordinary) == ("", [], [0, 1, 2])
