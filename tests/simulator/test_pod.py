"""A simulator says in which pod it runs, where it is told."""

from __future__ import annotations

import pytest

from replayproxy.model import Headers
from replayproxy.simulator.pod import event_topic, pod_fields


@pytest.mark.parametrize(
    ("environment", "fields"),
    [
        ({}, ()),
        ({"POD_NAME": ""}, ()),
        ({"POD_NAME": "sim-0"}, (("x-inference-pod", "sim-0"), ("x-inference-port", "8000"))),
        ({"POD_NAMESPACE": "llm"}, (("x-inference-namespace", "llm"),)),
        ({"POD_NAME": "a\r\nb", "POD_NAMESPACE": "ü"}, ()),
    ],
)
def test_fields_of_answers(environment: dict[str, str], fields: Headers) -> None:
    """As llm-d-inference-sim has them; what would break a field is left out."""
    assert pod_fields(environment, 8000) == fields


def test_the_topic_of_events() -> None:
    """The address of the pod, else the one on which the server listens."""
    assert event_topic({"POD_IP": "10.0.0.7"}, "127.0.0.1", 8000, "org/m") == "kv@10.0.0.7:8000@org/m"
    assert event_topic({}, "127.0.0.1", 8000, "m") == "kv@127.0.0.1:8000@m"
