"""Published benchmarks: lm-evaluation-harness, with the engine as its model.

The harness knows tasks, prompts and metrics; `lm` answers its requests; `run` joins the two.
"""
