"""Plugins by which tools for SQLite read a cassette as `replayproxy sql` does: a module and an entry point per tool.

The tool opens the file; the plugin gives its connection our functions and temporary views, where it is a cassette.
"""
