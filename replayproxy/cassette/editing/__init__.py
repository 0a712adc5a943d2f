"""Changes of whole cassettes: each reads, maps, writes a new file, verifies it and replaces the old one."""
