"""The HTTP server: models behind the interfaces that programs already speak."""
