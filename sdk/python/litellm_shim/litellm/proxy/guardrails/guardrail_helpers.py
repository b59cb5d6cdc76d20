"""Selection of guardrails is the gateway's: a plugin that is called was selected."""


async def should_proceed_based_on_metadata(data, guardrail_name):
    """Always."""
    return True
