"""Weights to fewer bits, and how much was lost."""
