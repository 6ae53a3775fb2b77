"""Token shards into a model: tokenizer, pretraining, fine-tuning, preference, distillation."""
