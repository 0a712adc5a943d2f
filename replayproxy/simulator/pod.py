"""The pod that a simulator runs in, as variables of the environment have it, and the fields of answers that say so."""

from __future__ import annotations

from collections.abc import Mapping

from replayproxy.model import Headers


def pod_fields(environment: Mapping[str, str], port: int) -> Headers:
    """`x-inference-pod`, `-port` and `-namespace` of generated answers, as llm-d-inference-sim has them.

    From POD_NAME and POD_NAMESPACE; what is not set, or cannot stand in a field, is left out.
    """
    name, namespace = (_value(environment.get(variable, "")) for variable in ("POD_NAME", "POD_NAMESPACE"))
    return (
        *((("x-inference-pod", name), ("x-inference-port", str(port))) if name else ()),
        *((("x-inference-namespace", namespace),) if namespace else ()),
    )


def event_topic(environment: Mapping[str, str], host: str, port: int, model: str) -> str:
    """The topic of KV events: `kv@POD_IP:PORT@MODEL`; without POD_IP the address on which the server listens."""
    return f"kv@{environment.get('POD_IP') or host}:{port}@{model}"


def _value(text: str) -> str:
    """The text, if it is one of visible ASCII characters (RFC 9110, section 5.5)."""
    return text if text.isascii() and text.isprintable() else ""
