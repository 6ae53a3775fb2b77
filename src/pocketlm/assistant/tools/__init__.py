"""Tools that a model may call, one module each; `skill.py` says what a tool is."""
