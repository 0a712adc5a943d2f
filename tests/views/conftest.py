"""Views are tested through the verbs that print them, too."""

from tests.cli.conftest import read

__all__ = ["read"]
