"""Helpers and fixtures that tests of several folders share. No test imports a test."""
