"""Names of statuses."""

from http import HTTPStatus as _HTTPStatus

for _one in _HTTPStatus:
    globals()[f"HTTP_{_one.value}_{_one.name}"] = _one.value
