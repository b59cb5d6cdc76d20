//! Whatever prices are stated and whatever an upstream claims: a cost is worked out, and it is none below zero.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Numbers as an upstream or an operator may write them, and what is none.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        (any::<i64>(), -40i32..40).prop_map(|(number, exponent)| format!("{number}e{exponent}")),
        (0u64..1_000_000).prop_map(|number| number.to_string()),
        prop_oneof![
            Just("1e400"),
            Just("-0"),
            Just("79228162514264337593543950335"),
            Just("0.0000000000000000000000000001"),
            Just("-79228162514264337593543950335"),
            Just("\"1e12\""),
            Just("\"-3\""),
            Just("NaN"),
            Just("\"NaN\""),
            Just("Infinity"),
            Just("null"),
            Just("{}"),
            Just("true"),
        ]
        .prop_map(str::to_owned),
    ]
}

const PRICES: [&str; 20] = [
    "input_cost_per_token",
    "output_cost_per_token",
    "input_cost_per_token_above_128k_tokens",
    "input_cost_per_token_above_200k_tokens_priority",
    "output_cost_per_token_flex",
    "input_cost_per_token_batches",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
    "input_cost_per_audio_token",
    "output_cost_per_audio_token",
    "output_cost_per_reasoning_token",
    "input_cost_per_image_token",
    "output_cost_per_image_token",
    "input_cost_per_character",
    "output_cost_per_character",
    "input_cost_per_second",
    "input_cost_per_image",
    "input_cost_per_pixel",
    "input_cost_per_request",
];

const COUNTS: [&str; 10] = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_hit_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
];

const DETAILS: [&str; 7] = [
    "cached_tokens",
    "cache_creation_tokens",
    "audio_tokens",
    "image_tokens",
    "video_tokens",
    "text_tokens",
    "reasoning_tokens",
];

fn members(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, String)>> {
    vec((prop::sample::select(names), number()), 0..8)
}

/// A `usage` object, most often JSON.
fn usage() -> impl Strategy<Value = String> {
    let object = |members: &[(&str, String)]| {
        let members = members
            .iter()
            .map(|(name, json)| format!("{name:?}:{json}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    (members(&COUNTS), members(&DETAILS), members(&DETAILS)).prop_map(
        move |(all, input, output)| {
            let mut all = all;
            all.push(("prompt_tokens_details", object(&input)));
            all.push(("completion_tokens_details", object(&output)));
            object(&all)
        },
    )
}

fn context() -> impl Strategy<Value = CostContext<'static>> {
    let tier = prop_oneof![Just(None), Just(Some("flex")), Just(Some("priority"))];
    let many = any::<(bool, Option<u64>, Option<u64>, Option<u64>, u64, u64)>();
    (tier, many).prop_map(|(service_tier, many)| {
        let (is_batch, duration_ms, input_characters, output_characters, input_images, searches) =
            many;
        CostContext {
            service_tier,
            is_batch,
            duration_ms,
            input_characters,
            output_characters,
            input_images,
            provider: "azure",
            tools: ToolUse {
                web_searches: searches,
                search_context: SearchContext::High,
                file_search: Some(FileSearch {
                    gb_days: searches.into(),
                }),
            },
            tool_prices: ToolPrices::default(),
        }
    })
}

fn is_no_credit(cost: &Cost) -> bool {
    let parts = [
        cost.input,
        cost.output,
        cost.tools,
        cost.total,
        cost.cache_read,
        cost.cache_creation,
        cost.reasoning,
    ];
    parts.iter().all(|part| *part >= Decimal::ZERO) && cost.total_f64().is_finite()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_price_and_no_usage_make_a_cost_below_zero(
        stated in members(&PRICES),
        tier in (number(), number(), number()),
        text in usage(),
        context in context(),
        (count, width, height) in any::<(u64, u64, u64)>(),
        margin in number(),
    ) {
        let (above, up_to, price) = tier;
        let tiers = format!("[{{\"range\":[{above},{up_to}],\"input_cost_per_token\":{price}}}]");
        let stated = stated.iter().map(|(name, json)| (*name, json.as_str()));
        let stated = stated.chain([("tiered_pricing", tiers.as_str())]);
        let Some(price) = ModelPrice::custom("test", stated, None) else {
            return Ok(());
        };
        let usage = Usage::from_json(Raw::new(text.as_bytes())).unwrap_or_default();
        let adjustments = Adjustments::read(
            Some(&json!({"openai": 0.25})),
            Some(&json!({"openai": {"percentage": margin, "fixed_amount": "1e12"}})),
        );
        let mut all = Cost::default();
        // As often as a call that goes on elsewhere adds parts.
        for _ in 0..3 {
            let mut one = cost(&usage, &price, &context);
            prop_assert!(is_no_credit(&one), "{one:?} of {text} by {price:?}");
            if let Ok(adjustments) = &adjustments {
                adjustments.apply("openai", &mut one);
            }
            all.add(&one);
            prop_assert!(is_no_credit(&all), "{all:?}");
        }
        for one in [
            per_second_cost(&price, count),
            image_cost(&price, count, width, height),
            image_token_cost(&price, &usage),
            rerank_cost(&price, count),
            speech_cost(&price, count),
        ] {
            prop_assert!(one.as_ref().is_none_or(is_no_credit), "{one:?}");
        }
        // What is reserved.
        prop_assert!(price.estimate(width, height) >= Decimal::ZERO);
    }

    /// Usages that no text has told, such as sums.
    #[test]
    fn counts_of_any_size_are_priced(counts in any::<[u64; 11]>(), texts in any::<[Option<u64>; 2]>()) {
        let [prompt, completion, cached, created, hour, reasoning, a, b, c, d, e] = counts;
        let usage = Usage {
            cached_tokens: cached,
            cache_creation_tokens: created,
            cache_creation_1h_tokens: hour,
            reasoning_tokens: reasoning,
            audio_input_tokens: a,
            audio_output_tokens: b,
            image_input_tokens: c,
            image_output_tokens: d,
            video_input_tokens: e,
            text_input_tokens: texts[0],
            text_output_tokens: texts[1],
            ..Usage::of(prompt, completion)
        };
        let price = priced(&[("input_cost_per_token", "1e12"), ("output_cost_per_token", "1e-9")]);
        prop_assert!(is_no_credit(&cost(&usage, &price, &PLAIN)));
    }
}

#[test]
fn a_price_below_zero_is_none() {
    let stated = [
        ("input_cost_per_token", "-1"),
        ("output_cost_per_token", "\"-0.5\""),
    ];
    assert_eq!(ModelPrice::custom("test", stated, None), None);
    let price = priced(&[
        ("input_cost_per_token", "-1"),
        ("output_cost_per_token", "2"),
    ]);
    assert_eq!(total(&Usage::of(10, 1), &price), dec("2"));
}
