"""Decisions about one document: each a filter of datatrove's with a reason for every drop."""
