"""The story room: what happens to a request. Knows no socket and no disk; it meets them through `ports`."""
