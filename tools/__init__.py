"""Commands that write parts of the documentation: `python -m tools.reference`, `python -m tools.picture`."""
