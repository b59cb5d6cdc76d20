"""Only names in signatures: messages are dicts."""

AllMessageValues = dict
ChatCompletionUserMessage = dict
ChatCompletionSystemMessage = dict
ChatCompletionAssistantMessage = dict
ChatCompletionToolMessage = dict
