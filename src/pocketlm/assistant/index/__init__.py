"""The index of a person's own files: kept up to date, and searched by words and meaning."""
