"""One module per group of commands: it parses, calls and prints."""
