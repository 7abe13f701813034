"""Telnyx's API as the world's customers see it."""
