"""What extension files import of LiteLLM's server."""

from litellm.caching.caching import DualCache
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

#: There is no database in a plugin.
prisma_client = None
llm_router = None
general_settings = {}
master_key = None
user_api_key_cache = DualCache()
