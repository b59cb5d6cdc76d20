"""`CustomSecretManager`: the base of secret managers. A subclass writes what its product can do."""


class CustomSecretManager:
    """Reading is a must, the rest is not."""

    def __init__(self, secret_manager_name=None, **kwargs):
        self.secret_manager_name = secret_manager_name or "custom_secret_manager"
        for name, value in kwargs.items():
            setattr(self, name, value)

    async def async_read_secret(self, secret_name, optional_params=None, timeout=None):
        raise NotImplementedError("async_read_secret")

    def sync_read_secret(self, secret_name, optional_params=None, timeout=None):
        raise NotImplementedError("sync_read_secret")

    async def async_write_secret(self, secret_name, secret_value, description=None, optional_params=None, timeout=None, tags=None):
        raise NotImplementedError("this secret manager only reads")

    async def async_delete_secret(self, secret_name, recovery_window_in_days=7, optional_params=None, timeout=None):
        raise NotImplementedError("this secret manager deletes nothing")

    async def async_rotate_secret(
        self, current_secret_name, new_secret_name, new_secret_value, optional_params=None, timeout=None
    ):
        raise NotImplementedError("this secret manager has no rotation of its own")

    def validate_environment(self):
        return True

    async def async_health_check(self, timeout=None):
        return True
