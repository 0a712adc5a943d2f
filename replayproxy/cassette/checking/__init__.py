"""What a cassette is checked for: damage, secrets, requests that match their own recordings."""
