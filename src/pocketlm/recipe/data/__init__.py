"""Raw pages into token shards: extract, filter, deduplicate, decontaminate, mask, tokenise."""
