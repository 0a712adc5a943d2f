"""Which request continues which: by ids, answers, names and beginnings; and that nobody waits who had not waited."""

from __future__ import annotations

from replayproxy.drive.recorded import RecordedTurn, Thread
from replayproxy.drive.sessions import SessionTurn, session_turns
from tests.doubles.driving import chat_request, streamed_text, threaded, turn


def found(turns: list[RecordedTurn]) -> list[tuple[str, int, int | None, bool]]:
    """Each request's session, turn, predecessor, and whether it continues that."""
    return [(one.session[-1], one.turn, one.predecessor, one.continues) for one in session_turns(turns)]


def test_messages_that_begin_with_a_request_and_its_answer_continue_it() -> None:
    """Two users who began alike are told apart by the answers that they got."""
    turns = [
        threaded(1, chat_request("hello"), streamed_text("Hi you"), 0),
        threaded(2, chat_request("hello"), streamed_text("Good day"), 200),
        threaded(3, chat_request("hello", "Goodday", "and?"), streamed_text("x"), 400),
        threaded(4, chat_request("hello", "Hiyou", "and?"), streamed_text("y"), 600),
        threaded(5, chat_request("hello", "Hiyou", "and?", "y", "so"), streamed_text("z"), 800),
    ]
    assert found(turns) == [("1", 0, None, False), ("2", 0, None, False), ("2", 1, 1, True), ("1", 1, 0, True),
                            ("1", 2, 3, True)]  # fmt: skip


def test_an_answer_that_the_client_changed_still_makes_a_session() -> None:
    """But no live answer can take the place of what is not there."""
    turns = [
        threaded(1, chat_request("hello"), streamed_text("Hi you"), 0),
        threaded(2, chat_request("hello", "shortened", "and?"), streamed_text("x"), 400),
    ]
    assert found(turns)[1] == ("1", 1, 0, False)


def test_a_request_that_had_not_waited_does_not_wait() -> None:
    """The answer of the first was still running when the second arrived."""
    turns = [
        threaded(1, chat_request("hello"), streamed_text("Hi you"), 0, took=1000),
        threaded(2, chat_request("hello", "Hiyou", "and?"), streamed_text("x"), 400),
    ]
    assert found(turns)[1] == ("2", 0, None, False)


def test_equal_conversations_at_once_are_two_sessions() -> None:
    """Each second turn continues a first turn that nobody continues yet."""
    first, second = chat_request("hello"), chat_request("hello", "Hi", "and?")
    turns = [
        threaded(1, first, streamed_text("Hi"), 0),
        threaded(2, first, streamed_text("Hi"), 1),
        threaded(3, second, streamed_text("x"), 200),
        threaded(4, second, streamed_text("x"), 201),
    ]
    assert {one.predecessor for one in session_turns(turns)[2:]} == {0, 1}


def test_a_name_of_the_client_makes_a_session() -> None:
    """Requests of one name wait for what had ended before them, and for nothing else."""
    named = Thread(key="alice")
    turns = [
        turn(1, 0, 100, thread=named),
        turn(2, 50, 100, thread=named),
        turn(3, 120, 100, thread=named),
        turn(4, 130, 10, thread=Thread(key="bob")),
        turn(5, 300, 10, thread=named),
    ]
    assert session_turns(turns) == [
        SessionTurn(turns[0].id),
        SessionTurn(turns[0].id),
        SessionTurn(turns[0].id, 1, 0),
        SessionTurn(turns[3].id),
        SessionTurn(turns[0].id, 2, 2),
    ]


def test_names_keep_equal_messages_apart() -> None:
    """The messages of another name are not continued."""
    from dataclasses import replace

    def of(key: str, one: RecordedTurn) -> RecordedTurn:
        return replace(one, thread=replace(one.thread, key=key))

    turns = [
        of("alice", threaded(1, chat_request("hello"), streamed_text("Hi"), 0)),
        of("bob", threaded(2, chat_request("hello", "Hi", "and?"), streamed_text("x"), 400)),
    ]
    assert session_turns(turns)[1] == SessionTurn(turns[1].id)


def test_a_previous_response_is_continued() -> None:
    """`previous_response_id` of `/v1/responses`."""
    turns = [
        turn(1, 0, thread=Thread(response_id="resp_1")),
        turn(2, 300, thread=Thread(previous_id="resp_1", response_id="resp_2")),
        turn(3, 600, thread=Thread(previous_id="resp_2")),
    ]
    assert [(one.turn, one.predecessor) for one in session_turns(turns)] == [(0, None), (1, 0), (2, 1)]
