"""What a model can do, found out by running it as any user would."""
