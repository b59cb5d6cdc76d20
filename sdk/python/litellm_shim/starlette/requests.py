"""The same objects as FastAPI's."""

from fastapi import Request
