"""Results as people read them: one page, tables, pictures, comparisons."""
