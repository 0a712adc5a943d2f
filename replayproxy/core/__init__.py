"""Floor 1: pure. No await, no clock, no disk, no socket; randomness only from a given seed."""
