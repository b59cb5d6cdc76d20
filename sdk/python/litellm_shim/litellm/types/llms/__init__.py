"""Types of requests."""
