"""The same objects under their older name."""

from ._types import *
