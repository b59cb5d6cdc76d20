"""Only a package."""
