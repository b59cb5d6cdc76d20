"""The same objects."""

from litellm.caching.caching import DualCache
