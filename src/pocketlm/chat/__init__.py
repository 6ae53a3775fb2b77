"""Chats: templates, prompts, conversations and their history."""
