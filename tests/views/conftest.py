"""Views are tested through the verbs that print them, too."""

from tests.cli.conftest import empty, mixed, read, watch

__all__ = ["empty", "mixed", "read", "watch"]
