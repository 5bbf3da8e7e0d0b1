"""The widget workbench: one observable state; callbacks only set a trait or start a job."""
