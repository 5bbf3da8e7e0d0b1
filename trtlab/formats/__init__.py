"""Other people's files: readers that turn them into records, writers that make them."""
