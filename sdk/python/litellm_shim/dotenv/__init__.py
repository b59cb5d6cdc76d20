"""Variables come from the gateway, as far as they are granted; there is no `.env` file in a plugin."""


def load_dotenv(*_, **__):
    """Nothing to load."""
    return False


def find_dotenv(*_, **__):
    """Nothing to find."""
    return ""


def dotenv_values(*_, **__):
    """Nothing to read."""
    return {}
