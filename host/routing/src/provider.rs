//! Which provider a model name means.

use witgate_wire::prices::Prices;

/// The provider ids that may stand before a model's name.
pub const PROVIDERS: [&str; 76] = [
    "abliteration",
    "ai21",
    "ai21_chat",
    "aihubmix",
    "aiml",
    "anthropic",
    "anthropic_text",
    "anyscale",
    "azure",
    "azure_ai",
    "azure_text",
    "baseten",
    "bedrock",
    "cerebras",
    "cloudflare",
    "codestral",
    "cohere",
    "cohere_chat",
    "custom",
    "custom_openai",
    "dashscope",
    "databricks",
    "datarobot",
    "deepinfra",
    "deepseek",
    "docker_model_runner",
    "empower",
    "featherless_ai",
    "fireworks_ai",
    "friendliai",
    "galadriel",
    "gemini",
    "github",
    "github_copilot",
    "groq",
    "hosted_vllm",
    "huggingface",
    "hyperbolic",
    "inception",
    "jina_ai",
    "lambda_ai",
    "litellm_proxy",
    "llamafile",
    "lm_studio",
    "meta_llama",
    "mistral",
    "modelscope",
    "moonshot",
    "nebius",
    "novita",
    "nscale",
    "nvidia_nim",
    "ollama",
    "ollama_chat",
    "openai",
    "openai_like",
    "openrouter",
    "perplexity",
    "predibase",
    "replicate",
    "sagemaker",
    "sagemaker_chat",
    "sambanova",
    "text-completion-codestral",
    "text-completion-openai",
    "together_ai",
    "v0",
    "vercel_ai_gateway",
    "vertex_ai",
    "vertex_ai_beta",
    "volcengine",
    "voyage",
    "wandb",
    "watsonx",
    "xai",
    "zai",
];

/// Splits `provider/model` where the first segment is a known provider. Only that segment is
/// taken: `openrouter/anthropic/claude` is OpenRouter's `anthropic/claude`.
pub fn split_provider(model: &str) -> Option<(&'static str, &str)> {
    let (first, rest) = model.split_once('/')?;
    let known = PROVIDERS.binary_search(&first).ok()?;
    Some((PROVIDERS[known], rest))
}

/// The model's name behind `provider/`, for a provider of any name; `None` when it does not begin so.
pub(crate) fn behind<'a>(provider: &str, model: &'a str) -> Option<&'a str> {
    model.strip_prefix(provider)?.strip_prefix('/')
}

/// The provider of a bare model name: the price map's, else by how the name begins.
pub fn infer_provider(prices: &Prices, model: &str) -> Option<&'static str> {
    if let Some((provider, _)) = split_provider(model) {
        return Some(provider);
    }
    let mapped = prices.lookup("", model).map(|price| price.provider.clone());
    let mapped = mapped.as_deref().map(|owner| match owner {
        owner if owner.starts_with("vertex_ai") => "vertex_ai",
        "bedrock_converse" => "bedrock",
        owner => owner,
    });
    if let Some(owner) = mapped
        && let Ok(known) = PROVIDERS.binary_search(&owner)
    {
        return Some(PROVIDERS[known]);
    }
    let beginnings = [
        ("gpt-", "openai"),
        ("chatgpt-", "openai"),
        ("o1", "openai"),
        ("o3", "openai"),
        ("o4", "openai"),
        ("ft:gpt-", "openai"),
        ("text-embedding-", "openai"),
        ("claude-", "anthropic"),
        ("gemini-", "gemini"),
        ("command-", "cohere_chat"),
    ];
    beginnings
        .into_iter()
        .find(|(start, _)| model.starts_with(start))
        .map(|(_, p)| p)
}

/// How LiteLLM names a provider's exceptions in messages, e.g. `OpenAIException`.
pub fn exception_name(provider: &str) -> String {
    match provider {
        "" | "openai" => return "OpenAIException".to_owned(),
        "vertex_ai" | "vertex_ai_beta" | "gemini" => return "VertexAIException".to_owned(),
        _ => {}
    }
    let mut chars = provider.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first
        .into_iter()
        .chain(chars)
        .chain("Exception".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_a_known_provider() {
        assert!(PROVIDERS.is_sorted());
        assert_eq!(split_provider("openai/gpt-4o"), Some(("openai", "gpt-4o")));
        assert_eq!(
            split_provider("openrouter/anthropic/c"),
            Some(("openrouter", "anthropic/c"))
        );
        assert_eq!(split_provider("acme/m1"), None);
        assert_eq!(split_provider("gpt-4o"), None);
    }

    #[test]
    fn bare_names_have_providers() {
        let prices = Prices::new();
        let rows = [
            ("gpt-4o", Some("openai")),
            ("openai/x", Some("openai")),
            ("gpt-99-unheard-of", Some("openai")),
            ("claude-99-unheard-of", Some("anthropic")),
            ("text-embedding-3-small", Some("openai")),
            ("my-model", None),
        ];
        for (model, provider) in rows {
            assert_eq!(infer_provider(&prices, model), provider, "{model}");
        }
    }

    #[test]
    fn exceptions_are_named_after_the_provider() {
        assert_eq!(exception_name("openai"), "OpenAIException");
        assert_eq!(exception_name("groq"), "GroqException");
        assert_eq!(exception_name("gemini"), "VertexAIException");
    }
}
