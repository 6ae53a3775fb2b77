"""The web as a source of passages: search, guarded fetching, the text of pages.

A page is data that a stranger wrote, and so is every address that it, a name server or a search
engine gives.
"""
