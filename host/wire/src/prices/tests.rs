mod hostile;

use std::collections::HashSet;

use super::*;
use crate::json::Raw;
use crate::usage::Usage;

fn dec(text: &str) -> Decimal {
    parse_decimal(text).unwrap()
}

fn priced(fields: &[(&str, &str)]) -> ModelPrice {
    ModelPrice::custom("test", fields.iter().copied(), None).unwrap()
}

fn total(usage: &Usage, price: &ModelPrice) -> Decimal {
    cost(usage, price, &CostContext::default()).total
}

const PLAIN: CostContext<'_> = CostContext {
    service_tier: None,
    is_batch: false,
    duration_ms: None,
    input_characters: None,
    output_characters: None,
    input_images: 0,
    provider: "",
    tools: ToolUse {
        web_searches: 0,
        search_context: SearchContext::Medium,
        file_search: None,
    },
    tool_prices: ToolPrices {
        file_search_call: Decimal::ZERO,
        azure_file_search_gb_day: Decimal::ZERO,
    },
};

#[test]
fn decimals_are_exact() {
    let rows = [
        ("1.5e-07", "0.00000015"),
        ("4e-07", "0.0000004"),
        ("0.0", "0"),
        ("2E-6", "0.000002"),
        ("1e2", "100"),
        ("5.0000000000000004e-08", "0.000000050000000000000004"),
        (" 3 ", "3"),
    ];
    for (text, plain) in rows {
        assert_eq!(dec(text), plain.parse::<Decimal>().unwrap(), "{text}");
    }
    for text in ["", "x", "1e999", "1e-99", "1e99999999999", "NaN", "e5"] {
        assert_eq!(parse_decimal(text), None, "{text}");
    }
}

#[test]
fn every_line_of_the_map_is_found_and_well_formed() {
    let mut seen = HashSet::new();
    let mut before = "";
    for (key, entry) in map::entries(map::TEXT) {
        assert!(key > before, "{key} is out of order");
        before = key;
        assert!(!key.contains('\\') && seen.insert(key), "{key}");
        assert_eq!(
            map::entry(key).as_deref(),
            Some(entry),
            "{key} is not found"
        );
        check_entry(
            key,
            serde_json::from_str(entry).unwrap_or_else(|e| panic!("{key}: {e}")),
        );
    }
    assert_eq!(seen.len() + 2, map::TEXT.lines().count());
    let whole: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(map::TEXT).unwrap();
    assert_eq!(whole.len(), seen.len());
    for absent in ["", "!", "zzzz", "gpt-4o ", "gpt-4", "{", "}"] {
        assert_eq!(
            map::entry(absent).is_some(),
            whole.contains_key(absent),
            "{absent:?}"
        );
    }
}

/// The schema of one entry.
fn check_entry(key: &str, entry: serde_json::Value) {
    const MODES: [&str; 13] = [
        "chat",
        "completion",
        "embedding",
        "image_generation",
        "image_edit",
        "audio_transcription",
        "audio_speech",
        "rerank",
        "moderation",
        "responses",
        "realtime",
        "ocr",
        "video_generation",
    ];
    let entry = entry.as_object().unwrap();
    assert!(
        entry["litellm_provider"]
            .as_str()
            .is_some_and(|p| !p.is_empty()),
        "{key}"
    );
    assert!(
        MODES.contains(&entry["mode"].as_str().unwrap()),
        "{key}: {}",
        entry["mode"]
    );
    for (name, value) in entry {
        if name == "search_context_cost_per_query" {
            let sizes = value.as_object().unwrap();
            assert!(
                sizes
                    .iter()
                    .all(|(k, v)| k.starts_with("search_context_size_") && v.is_number())
            );
        } else if name.contains("_cost") || name.starts_with("cost_per_") {
            let price = parse_decimal(&value.to_string())
                .unwrap_or_else(|| panic!("{key}.{name}: {value}"));
            assert!(
                price >= Decimal::ZERO && price < Decimal::from(10_000),
                "{key}.{name}: {price}"
            );
        } else if name.starts_with("supports_") {
            assert!(value.is_boolean(), "{key}.{name}");
        } else if name.starts_with("max_") {
            assert!(
                value.as_f64().is_some_and(|n| n >= 0.0 && n.fract() == 0.0),
                "{key}.{name}: {value}"
            );
        } else if name == "tiered_pricing" {
            for tier in value.as_array().unwrap() {
                let range = tier["range"].as_array().unwrap();
                assert!(
                    range.len() == 2 && range[0].as_f64() < range[1].as_f64(),
                    "{key}"
                );
            }
        }
    }
}

#[test]
fn every_entry_parses_to_a_price() {
    let mut per_token = 0;
    for price in Prices::all() {
        assert!(
            !price.provider.is_empty() && !price.mode.is_empty(),
            "{}",
            price.key
        );
        per_token += usize::from(price.is_per_token());
    }
    assert!(per_token > 3000, "{per_token}");
}

/// One row: provider, model, the key that prices it.
#[test]
fn lookup_table() {
    let rows = [
        ("openai", "gpt-4o", Some("gpt-4o")),
        ("openai", "openai/gpt-4o", Some("gpt-4o")),
        ("azure", "gpt-4o", Some("azure/gpt-4o")),
        ("azure", "azure/gpt-4o", Some("azure/gpt-4o")),
        ("", "gpt-4o", Some("gpt-4o")),
        ("anthropic", "gpt-4o", None),
        ("openai", "no-such-model", None),
        ("openai", "", None),
        ("text-completion-openai", "gpt-4o", Some("gpt-4o")),
    ];
    let prices = Prices::new();
    for (provider, model, key) in rows {
        for _ in 0..2 {
            let found = prices.lookup(provider, model);
            assert_eq!(
                found.as_ref().map(|p| p.key.as_str()),
                key,
                "{provider} {model}"
            );
        }
    }
}

#[test]
fn bedrock_names_lose_region_route_and_version() {
    let prices = Prices::new();
    let key = Prices::all()
        .find(|p| {
            p.provider == "bedrock_converse"
                && p.key.starts_with("anthropic.")
                && p.key.ends_with("-v1:0")
        })
        .unwrap()
        .key;
    for model in [
        format!("bedrock/{key}"),
        format!("bedrock/converse/{key}"),
        format!("bedrock/eu-west-9/{key}"),
        format!("jp.{key}"),
        format!("arn:aws:bedrock:us-east-1:1:inference-profile/{key}"),
    ] {
        let found = prices.lookup("bedrock", &model);
        assert!(found.is_some_and(|p| p.key.ends_with(&key)), "{model}");
    }
}

#[test]
fn the_base_model_wins_then_the_response_then_the_request() {
    let prices = Prices::new();
    let all = PriceQuery {
        provider: "openai",
        model: "gpt-4o",
        base_model: Some("gpt-4o-mini"),
        response_model: Some("o1"),
        region: None,
        by_size: None,
    };
    let key = |q: PriceQuery<'_>| prices.resolve(&q).map(|p| p.key.clone());
    assert_eq!(key(all).unwrap(), "gpt-4o-mini");
    assert_eq!(
        key(PriceQuery {
            base_model: None,
            ..all
        })
        .unwrap(),
        "o1"
    );
    assert_eq!(
        key(PriceQuery {
            base_model: Some(""),
            response_model: Some("?"),
            ..all
        })
        .unwrap(),
        "gpt-4o"
    );
    assert_eq!(
        key(PriceQuery {
            model: "?",
            base_model: None,
            response_model: None,
            ..all
        }),
        None
    );
}

#[test]
fn the_cache_does_not_grow_with_names() {
    let prices = Prices::new();
    for i in 0..2000 {
        assert!(prices.lookup("openai", &format!("made-up-{i}")).is_none());
    }
    assert!(prices.lookup("openai", "gpt-4o").is_some());
}

#[test]
fn cached_reasoning_and_writes() {
    let price = priced(&[
        ("input_cost_per_token", "2e-6"),
        ("output_cost_per_token", "8e-6"),
        ("cache_read_input_token_cost", "2e-7"),
        ("cache_creation_input_token_cost", "2.5e-6"),
        ("output_cost_per_reasoning_token", "1.2e-5"),
    ]);
    let usage = Usage {
        cached_tokens: 6000,
        cache_creation_tokens: 1000,
        reasoning_tokens: 200,
        ..Usage::of(10_000, 500)
    };
    let cost = cost(&usage, &price, &PLAIN);
    assert_eq!(
        (cost.input, cost.output, cost.total),
        (dec("0.0097"), dec("0.0048"), dec("0.0145"))
    );
    assert_eq!(
        (cost.cache_read, cost.cache_creation),
        (dec("0.0012"), dec("0.0025"))
    );
    assert_eq!(cost.reasoning, dec("0.0024"));
    assert_eq!(cost.total_f64(), 0.0145);
}

#[test]
fn a_long_prompt_reprices_the_whole_request() {
    let price = priced(&[
        ("input_cost_per_token", "1.25e-6"),
        ("input_cost_per_token_above_200k_tokens", "2.5e-6"),
        ("output_cost_per_token", "1e-5"),
        ("output_cost_per_token_above_200k_tokens", "1.5e-5"),
    ]);
    assert_eq!(total(&Usage::of(210_000, 1000), &price), dec("0.54"));
    assert_eq!(total(&Usage::of(200_000, 1000), &price), dec("0.26"));
    let mut xai = price;
    xai.provider = "xai".into();
    assert_eq!(total(&Usage::of(200_000, 1000), &xai), dec("0.515"));
}

#[test]
fn several_thresholds_the_largest_exceeded_wins_and_falls_back_per_price() {
    let price = priced(&[
        ("input_cost_per_token", "1"),
        ("input_cost_per_token_above_32k_tokens", "2"),
        ("input_cost_per_token_above_128k_tokens", "3"),
        ("output_cost_per_token", "1"),
        ("output_cost_per_token_above_32k_tokens", "5"),
    ]);
    assert_eq!(total(&Usage::of(32_000, 1), &price), dec("32001"));
    assert_eq!(total(&Usage::of(32_001, 1), &price), dec("64007"));
    assert_eq!(total(&Usage::of(128_001, 1), &price), dec("384008"));
}

#[test]
fn dashscope_tiers() {
    let price = priced(&[(
        "tiered_pricing",
        r#"[{"range":[0,32000.0],"input_cost_per_token":1e-6},{"range":[32000,128000],"input_cost_per_token":"2e-6"}]"#,
    )]);
    assert_eq!(total(&Usage::of(32_000, 0), &price), dec("0.032"));
    assert_eq!(total(&Usage::of(32_001, 0), &price), dec("0.064002"));
    assert_eq!(total(&Usage::of(200_000, 0), &price), dec("0.4"));
    assert_eq!(total(&Usage::of(0, 10), &price), Decimal::ZERO);
}

#[test]
fn audio_and_stated_text() {
    let price = priced(&[
        ("input_cost_per_token", "2e-6"),
        ("input_cost_per_audio_token", "4e-5"),
    ]);
    let usage = Usage {
        audio_input_tokens: 200,
        ..Usage::of(300, 0)
    };
    assert_eq!(total(&usage, &price), dec("0.0082"));
    // Stated text that is consistent is taken; with a cache it must not exceed the whole.
    let stated = Usage {
        text_input_tokens: Some(100),
        ..usage.clone()
    };
    assert_eq!(total(&stated, &price), dec("0.0082"));
    let cached = Usage {
        text_input_tokens: Some(300),
        cached_tokens: 100,
        ..Usage::of(300, 0)
    };
    assert_eq!(total(&cached, &price), dec("0.0006"));
}

#[test]
fn missing_prices_fall_back_and_zero_is_free() {
    let price = priced(&[
        ("input_cost_per_token", "1"),
        ("output_cost_per_token", "2"),
    ]);
    let usage = Usage {
        cached_tokens: 4,
        reasoning_tokens: 3,
        audio_output_tokens: 1,
        ..Usage::of(10, 6)
    };
    assert_eq!(total(&usage, &price), dec("22"));
    let free = priced(&[
        ("input_cost_per_token", "1"),
        ("cache_read_input_token_cost", "0"),
        ("output_cost_per_reasoning_token", "0.0"),
        ("output_cost_per_token", "2"),
    ]);
    assert_eq!(total(&usage, &free), dec("12"));
}

#[test]
fn cache_writes_of_both_lifetimes() {
    let price = priced(&[
        ("input_cost_per_token", "1"),
        ("cache_creation_input_token_cost", "2"),
        ("cache_creation_input_token_cost_above_1hr", "3"),
    ]);
    let usage = Usage {
        cache_creation_tokens: 10,
        cache_creation_1h_tokens: 4,
        ..Usage::of(10, 0)
    };
    assert_eq!(total(&usage, &price), dec("24"));
}

#[test]
fn service_tiers_and_batches() {
    let price = priced(&[
        ("input_cost_per_token", "10"),
        ("input_cost_per_token_priority", "20"),
        ("input_cost_per_token_above_1k_tokens", "30"),
        ("input_cost_per_token_above_1k_tokens_priority", "40"),
        ("output_cost_per_token", "8"),
        ("output_cost_per_token_batches", "3"),
    ]);
    let with = |tokens, service_tier, is_batch| {
        cost(
            &Usage::of(tokens, 1),
            &price,
            &CostContext {
                service_tier,
                is_batch,
                ..PLAIN
            },
        )
        .total
    };
    assert_eq!(with(1, Some("priority"), false), dec("28"));
    assert_eq!(with(1, Some("flex"), false), dec("18"));
    assert_eq!(with(1, Some("default"), false), dec("18"));
    assert_eq!(with(1001, Some("priority"), false), dec("40048"));
    assert_eq!(with(1001, None, false), dec("30038"));
    assert_eq!(with(1, None, true), dec("8"));
}

#[test]
fn by_unit() {
    let pixels = priced(&[("input_cost_per_pixel", "1e-8")]);
    assert_eq!(
        image_cost(&pixels, 2, 1024, 1536).unwrap().total,
        dec("0.03145728")
    );
    let whisper = priced(&[
        ("input_cost_per_second", "1e-4"),
        ("output_cost_per_second", "1e-4"),
    ]);
    assert_eq!(
        transcription_cost(&whisper, 90_000).unwrap().total,
        dec("0.009")
    );
    let seconds = priced(&[("input_cost_per_second", "0.002")]);
    let timed = CostContext {
        duration_ms: Some(1500),
        ..PLAIN
    };
    assert_eq!(cost(&Usage::of(5, 5), &seconds, &timed).total, dec("0.003"));
    let speech = priced(&[("input_cost_per_character", "0.01")]);
    assert_eq!(speech_cost(&speech, 7).unwrap().total, dec("0.07"));
    let rerank = priced(&[("input_cost_per_query", "0.5")]);
    assert_eq!(rerank_cost(&rerank, 3).unwrap().total, dec("1.5"));
    assert_eq!(rerank_cost(&speech, 3), None);
    let search = Prices::new().lookup("perplexity", "sonar").unwrap();
    let searched = CostContext {
        provider: "perplexity",
        tools: ToolUse {
            web_searches: 2,
            search_context: SearchContext::High,
            file_search: None,
        },
        ..PLAIN
    };
    assert_eq!(
        cost(&Usage::default(), &search, &searched).tools,
        search.search(2).unwrap() * Decimal::TWO
    );
}

#[test]
fn custom_prices_inherit_only_cache_prices() {
    let prices = Prices::new();
    let backend = prices.lookup("openai", "gpt-4o").unwrap();
    let stated = [
        ("input_cost_per_token", "\"4e-07\""),
        ("mode", "\"chat\""),
        ("rpm", "5"),
    ];
    let custom = ModelPrice::custom("id-1", stated, Some(&backend)).unwrap();
    assert!(custom.is_custom);
    assert_eq!(
        (custom.key.as_str(), custom.provider.as_str()),
        ("id-1", "openai")
    );
    assert_eq!(custom.field("input_cost_per_token"), Some(dec("4e-7")));
    assert_eq!(
        custom.field("cache_read_input_token_cost"),
        Some(dec("1.25e-6"))
    );
    assert_eq!(custom.field("output_cost_per_token"), None);
    assert_eq!(custom.max_input_tokens, Some(128_000));
    assert_eq!(
        ModelPrice::custom("id", [("rpm", "5"), ("model", "\"x\"")], None),
        None
    );
    let free = ModelPrice::custom("id", [("input_cost_per_token", "0")], None).unwrap();
    assert_eq!(total(&Usage::of(100, 100), &free), Decimal::ZERO);
}

#[test]
fn absurd_numbers_saturate() {
    let price = priced(&[
        ("input_cost_per_token", "1e12"),
        ("output_cost_per_token", "1e12"),
    ]);
    assert!(total(&Usage::of(1_000_000_000_000, 1_000_000_000_000), &price) > Decimal::ZERO);
    let huge = ModelPrice::custom(
        "x",
        [("input_cost_per_token", "79228162514264337593543950335")],
        None,
    );
    assert_eq!(total(&Usage::of(9, 0), &huge.unwrap()), Decimal::MAX);
}

#[test]
fn a_real_call_at_the_maps_price() {
    let price = Prices::new().lookup("openai", "gpt-4o").unwrap();
    let raw = Raw::new(br#"{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":400}}"#);
    let usage = Usage::from_json(raw).unwrap();
    assert_eq!(total(&usage, &price), dec("0.003"));
}

/// A model that the map has a price for keeps it; by its size only what has none is priced.
#[test]
fn models_without_a_price_cost_what_their_size_does() {
    let prices = Prices::new();
    let classes = SizeClasses::default();
    let key = |provider: &str, model: &str, response_model: Option<&str>| {
        let found = prices.resolve(&PriceQuery {
            provider,
            model,
            response_model,
            by_size: Some(BySize {
                classes: &classes,
                is_embedding: false,
            }),
            ..PriceQuery::default()
        });
        found.map(|price| price.key.clone())
    };
    for (provider, model, found) in [
        (
            "together_ai",
            "meta-llama/Llama-3-8b-chat-hf",
            Some("together_ai/meta-llama/Llama-3-8b-chat-hf"),
        ),
        // The map has it, and no price of it.
        (
            "together_ai",
            "togethercomputer/CodeLlama-34b-Instruct",
            Some("together-ai-21.1b-41b"),
        ),
        ("together_ai", "org/new-8b", Some("together-ai-4.1b-8b")),
        ("together_ai", "org/new", None),
        (
            "fireworks_ai",
            "a/new-8x7b",
            Some("fireworks-ai-moe-up-to-56b"),
        ),
        ("openai", "new-8b", None),
    ] {
        assert_eq!(key(provider, model, None).as_deref(), found, "{model}");
    }
    let told = key("together_ai", "org/new-8b", Some("org/new-70b"));
    assert_eq!(told.as_deref(), Some("together-ai-4.1b-8b"));
    assert_eq!(
        prices.resolve(&PriceQuery {
            provider: "together_ai",
            model: "org/new-8b",
            ..PriceQuery::default()
        }),
        None
    );
}

#[test]
fn the_models_of_a_provider_are_those_that_can_be_called() {
    let models = Prices::models("openai");
    for model in ["gpt-4o", "text-embedding-3-small", "omni-moderation-latest"] {
        assert!(models.iter().any(|known| known == model), "{model}");
    }
    for other in ["whisper-1", "256-x-256/dall-e-2", "claude-sonnet-4-5"] {
        assert!(!models.iter().any(|known| known == other), "{other}");
    }
    let together = Prices::models("together_ai");
    assert!(together.iter().any(|name| name == "openai/gpt-oss-20b"));
    assert!(
        !together.iter().any(|name| name.starts_with("together-ai-")),
        "{together:?}"
    );
    assert_eq!(Prices::models("nobody"), Vec::<String>::new());
    let text: serde_json::Value = serde_json::from_slice(&Prices::text()).unwrap();
    assert!(text["gpt-4o"].is_object());
}
