"""Data that goes in: inputs invented for speed, and samples for calibration and accuracy."""
