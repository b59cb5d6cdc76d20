//! Lakera's answer as a verdict.

use serde::Deserialize;
use serde_json::{Value, json};
use witgate_plugin::guardrail::Verdict;
use witgate_plugin::guardrail::remote::{Trouble, block, count};

/// Scores from which a call is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    prompt_injection: Option<f64>,
    jailbreak: Option<f64>,
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    #[serde(default)]
    category_scores: Scores,
    flagged: bool,
}

#[derive(Default, Deserialize)]
struct Scores {
    prompt_injection: Option<f64>,
    jailbreak: Option<f64>,
}

/// What the answer means. With thresholds they alone decide, as in LiteLLM.
pub fn verdict(answer: &[u8], thresholds: Option<&Thresholds>) -> Result<Verdict, Trouble> {
    let whole: Value = serde_json::from_slice(answer).map_err(Trouble::nonsense)?;
    let parsed = Answer::deserialize(&whole).map_err(Trouble::nonsense)?;
    let Some(judged) = parsed.results.first() else {
        return Err(Trouble::nonsense("`results` is empty"));
    };
    let refuse = |message: &str, kind: &str| {
        let detail = json!({"error": message, "lakera_ai_response": whole});
        Ok(block(message, Some(&detail), count([kind])))
    };
    let Some(thresholds) = thresholds else {
        return match judged.flagged {
            true => refuse("Violated content safety policy", "flagged"),
            false => Ok(Verdict::Allow),
        };
    };
    let reached = |score: Option<f64>, limit: Option<f64>| matches!((score, limit), (Some(score), Some(limit)) if score >= limit);
    let scores = &judged.category_scores;
    if reached(scores.jailbreak, thresholds.jailbreak) {
        return refuse("Violated jailbreak threshold", "jailbreak");
    }
    if reached(scores.prompt_injection, thresholds.prompt_injection) {
        return refuse("Violated prompt_injection threshold", "prompt_injection");
    }
    let missing = |score: Option<f64>, limit: Option<f64>| limit.is_some() && score.is_none();
    if missing(scores.jailbreak, thresholds.jailbreak)
        || missing(scores.prompt_injection, thresholds.prompt_injection)
    {
        return Err(Trouble::nonsense("a score that has a threshold is missing"));
    }
    Ok(Verdict::Allow)
}
