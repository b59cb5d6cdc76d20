"""Types of prompts."""
