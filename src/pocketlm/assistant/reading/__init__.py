"""Reading: an answer's words found in a passage, and whether a passage holds what is said of it."""
