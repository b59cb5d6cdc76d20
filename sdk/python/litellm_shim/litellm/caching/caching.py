"""`DualCache`: in the memory of this instance. Instances are many and short-lived."""

import time


class InMemoryCache:
    """Values with an end."""

    def __init__(self, *_, default_ttl=600, **__):
        self._values = {}
        self._default_ttl = default_ttl

    def set_cache(self, key, value, ttl=None, **_):
        self._values[key] = (value, time.time() + (self._default_ttl if ttl is None else ttl))

    def get_cache(self, key, **_):
        value, until = self._values.get(key, (None, 0.0))
        return value if until > time.time() else None

    def increment_cache(self, key, value=1, **options):
        total = (self.get_cache(key) or 0) + value
        self.set_cache(key, total, **options)
        return total

    def delete_cache(self, key):
        self._values.pop(key, None)

    def flush_cache(self):
        self._values.clear()

    async def async_set_cache(self, key, value, **options):
        self.set_cache(key, value, **options)

    async def async_get_cache(self, key, **options):
        return self.get_cache(key, **options)

    async def async_increment_cache(self, key, value=1, **options):
        return self.increment_cache(key, value, **options)

    async def async_delete_cache(self, key):
        self.delete_cache(key)

    async def async_batch_get_cache(self, keys, **_):
        return [self.get_cache(key) for key in keys]


class DualCache(InMemoryCache):
    """The same under LiteLLM's usual name."""


class RedisCache:
    """There is no Redis in a plugin."""

    def __init__(self, *_, **__):
        raise RuntimeError("a plugin cannot reach Redis")
