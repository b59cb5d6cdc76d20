"""`custom_secret_manager`: a class without arguments that reads secrets, and may write them."""

from witgate import Failed, SecretManager, SettingsError, Unavailable

from .loop import run


class Adapter(SecretManager):
    """An object of the class as a secret manager."""

    def __init__(self, made, given):
        super().__init__(given)
        self._manager = made()
        if run(self._manager.validate_environment()) is False:
            raise SettingsError(f"{made.__name__}.validate_environment says that something is missing")

    def read(self, name, options):
        try:
            value = self._read(secret_name=name, **_params(options))
        except Exception as error:
            if _may_pass(error):
                raise Unavailable(f"{type(error).__name__}: {error}") from error
            raise
        if value is None or isinstance(value, str):
            return value
        raise TypeError(f"the secret was read as {type(value).__name__}; return a text or None")

    def _read(self, **what):
        try:
            return run(self._manager.sync_read_secret(**what))
        except NotImplementedError:
            return run(self._manager.async_read_secret(**what))

    def write(self, secret, options):
        more = {}
        if secret.description is not None:
            more["description"] = secret.description
        if secret.tags:
            more["tags"] = secret.tags
        self._done(self._manager.async_write_secret(secret_name=secret.name, secret_value=secret.value, **more, **_params(options)))

    def delete(self, name, recovery_days, options):
        self._done(self._manager.async_delete_secret(secret_name=name, recovery_window_in_days=recovery_days, **_params(options)))

    def rotate(self, current, new, options):
        try:
            run(
                self._manager.async_rotate_secret(
                    current_secret_name=current, new_secret_name=new.name, new_secret_value=new.value, **_params(options)
                )
            )
        except NotImplementedError:
            super().rotate(current, new, options)

    def health(self):
        if run(self._manager.async_health_check()) is False:
            raise Failed("async_health_check says that it does not work")

    @staticmethod
    def _done(call):
        try:
            run(call)
        except NotImplementedError as error:
            raise Failed(str(error) or "this secret manager cannot do that") from None


#: What the HTTP clients raise when nobody answers.
_NO_ANSWER = {"TransportError", "ConnectionError", "Timeout", "TimeoutError", "ClientConnectionError"}


def _may_pass(error):
    """Whether the same question may be answered later."""
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return any(kind.__name__ in _NO_ANSWER for kind in type(error).__mro__)


def _params(options):
    return {"optional_params": options} if options else {}
