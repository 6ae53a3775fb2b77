"""Facts from search and skills from tools: what a small model lacks, and the loops that give it."""
