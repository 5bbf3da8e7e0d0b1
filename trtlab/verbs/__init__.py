"""The verbs: each runs its native work in a worker and returns a record."""
