"""Which versions of vLLM the executor was tested with: its interface is not public, and may change with any of them."""

from __future__ import annotations

TESTED = ("0.32",)
"""Minor versions for which tests/live ran. A new one is added when they pass with it."""


def warning_for(version: str) -> str | None:
    """Return a warning for a version of vLLM that was not tested; None for one that was."""
    minor = ".".join(version.split(".")[:2])
    if minor in TESTED:
        return None
    return (
        f"vLLM {version} was not tested with this executor, only {', '.join(f'{tested}.*' for tested in TESTED)}: an"
        " answer may differ from its recording; install a tested version, or compare some answers first"
    )
