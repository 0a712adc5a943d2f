"""The cassettes of these tests are written once."""

from tests.admin.inspector.visits import attacked, traffic

__all__ = ["attacked", "traffic"]
