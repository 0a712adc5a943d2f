"""`ls`, `show`, `stats`, `info`: look into a cassette. Begin with `verbs`."""
