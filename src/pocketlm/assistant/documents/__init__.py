"""Files of many kinds into passages: what a search finds and a model reads."""
