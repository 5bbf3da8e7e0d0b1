"""The small front-end widgets: plain ESM, no build step, no network."""
