"""The commands: read options, call a verb, say the result as data and as text."""
