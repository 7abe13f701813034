"""/sandbox/: look behind the scenes and pull the strings. Not a part of what is simulated."""
