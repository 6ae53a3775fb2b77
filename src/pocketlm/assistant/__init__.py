"""Facts from search, skills from tools: what a small model lacks, and the loop that gives it that."""
