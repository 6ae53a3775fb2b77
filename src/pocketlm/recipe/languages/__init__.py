"""A model in another language: more words for its tokenizer, and what it then has to learn."""
