"""The part of fastapi_sso that sign-in files import: the record of a user."""
