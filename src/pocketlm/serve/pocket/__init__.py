"""The page that runs a model in the browser itself: its files, and models to fetch.

Served at /pocket, or written as a folder that any web server can host. Errors have OpenAI's shape.
"""
