"""Only a name in signatures."""

PromptSpec = dict
