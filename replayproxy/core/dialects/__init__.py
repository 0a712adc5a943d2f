"""The dialects of LLM APIs: their events, what an answer says, and which event ends a stream. Pure."""
