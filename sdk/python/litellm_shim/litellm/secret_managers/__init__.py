"""Bases of secret managers."""
