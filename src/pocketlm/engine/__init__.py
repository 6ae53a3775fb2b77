"""A loaded model that generates: blocks of cache, batches, sampling, streamed text."""
