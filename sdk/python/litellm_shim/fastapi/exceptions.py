"""The same under another name."""

from . import HTTPException
