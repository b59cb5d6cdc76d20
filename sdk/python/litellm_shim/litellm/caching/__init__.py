"""The same objects."""

from .caching import DualCache, InMemoryCache, RedisCache
