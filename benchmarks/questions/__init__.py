"""Questions whose answers are known: where they are read from, and how an answer is judged."""
