"""Stubs of the installed bindings, and checks of the hand-written types against them."""
