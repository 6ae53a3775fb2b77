"""Published benchmarks through lm-evaluation-harness, with the engine as its model."""
