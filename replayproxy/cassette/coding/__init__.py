"""How answers, requests and times become bytes of a cassette, and bytes become them again."""
