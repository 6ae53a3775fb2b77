"""The demonstration: what filtering and synthetic text do to a small model, on one machine."""
