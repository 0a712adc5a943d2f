"""What makes two requests the same: canonical JSON, match rules, keys, differences, sketches. Pure."""
