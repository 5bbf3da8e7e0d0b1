"""Backends: what builds a plan and what runs it."""
