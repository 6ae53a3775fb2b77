"""MT-bench: eighty questions of two turns, judged by a larger model."""
