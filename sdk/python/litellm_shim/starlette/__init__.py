"""What FastAPI is built on; the same objects."""
