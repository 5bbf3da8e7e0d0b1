"""What records mean: pure functions, no files, no native code."""
