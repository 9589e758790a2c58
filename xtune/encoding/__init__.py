"""Conversations to ids and loss masks; `Encoder` is the way in."""
