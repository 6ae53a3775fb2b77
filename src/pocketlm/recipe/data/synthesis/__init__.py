"""Text written by a larger model: seeds into requests, answers into documents or reasons against.

`plan` is the file that says what is wanted, `seeds` what each request is about, `kinds` what a kind
of document asks for and how an answer becomes one, `series` one kind's progress, `run` the whole.
"""
