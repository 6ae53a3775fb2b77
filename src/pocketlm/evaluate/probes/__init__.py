"""Capability probes: small tests of which a program says whether they were passed."""
