//! Embeddings of texts, made by a model group of the gateway's own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_wire::Endpoint;
use witgate_wire::tokens::Tokenizer;

use crate::ports::{OnBehalf, OwnCalls};

/// How long embeddings may take: somebody waits for more than them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Embeds texts.
pub struct Embedder {
    calls: Arc<dyn OwnCalls>,
    model: String,
    tokens_max: Option<u64>,
}

impl Embedder {
    /// Asks `model`, a model group; texts are cut to `tokens_max`, the tokens it takes, where that is known.
    #[must_use]
    pub fn new(calls: Arc<dyn OwnCalls>, model: String, tokens_max: Option<u64>) -> Self {
        Self {
            calls,
            model,
            tokens_max,
        }
    }

    /// The embedding of a text, or why there is none.
    ///
    /// # Errors
    /// When the model fails, gives no embedding, or does not answer in time.
    pub async fn one(&self, text: &str, by: OnBehalf<'_>) -> Result<Vec<f32>, String> {
        let input = self.cut(text).await;
        let answer = self.ask(json!(input), by).await?;
        self.vectors(&answer, 1)?
            .pop()
            .ok_or_else(|| self.wrong("it is empty"))
    }

    /// The embeddings of texts, in their order.
    ///
    /// # Errors
    /// As [`Embedder::one`].
    pub async fn all(&self, texts: &[String], by: OnBehalf<'_>) -> Result<Vec<Vec<f32>>, String> {
        let mut inputs = Vec::with_capacity(texts.len());
        for text in texts {
            inputs.push(self.cut(text).await);
        }
        let answer = self.ask(json!(inputs), by).await?;
        self.vectors(&answer, texts.len())
    }

    async fn ask(&self, input: Value, by: OnBehalf<'_>) -> Result<Value, String> {
        let body = json!({"model": self.model, "input": input});
        let asked = self.calls.ask(Endpoint::Embeddings, body, by);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|why| format!("{}: {why}", self.model)),
            Err(_) => Err(format!(
                "{}: no answer within {} s",
                self.model,
                PATIENCE.as_secs()
            )),
        }
    }

    fn vectors(&self, answer: &Value, wanted: usize) -> Result<Vec<Vec<f32>>, String> {
        let data = answer.get("data").and_then(Value::as_array);
        let data = data.ok_or_else(|| self.wrong("it has no data"))?;
        let mut vectors = vec![Vec::new(); wanted];
        for (at, one) in data.iter().enumerate() {
            let index = one.get("index").and_then(Value::as_u64);
            let index = index.and_then(|n| usize::try_from(n).ok()).unwrap_or(at);
            let vector = one.get("embedding").cloned().unwrap_or_default();
            let vector = serde_json::from_value(vector);
            let vector = vector.map_err(|_| self.wrong("its embedding is no list of numbers"))?;
            if let Some(place) = vectors.get_mut(index) {
                *place = vector;
            }
        }
        match vectors.iter().any(Vec::is_empty) {
            true => Err(self.wrong("it lacks embeddings")),
            false => Ok(vectors),
        }
    }

    fn wrong(&self, why: &str) -> String {
        format!("{}: the answer is no embedding: {why}", self.model)
    }

    /// As much of a text as the model takes. A token is one byte at least: most texts need no counting.
    async fn cut(&self, text: &str) -> String {
        let Some(most) = self.tokens_max else {
            return text.to_owned();
        };
        if text.len() as u64 <= most {
            return text.to_owned();
        }
        let (whole, tokenizer) = (text.to_owned(), Tokenizer::for_model(&self.model));
        let cut = tokio::task::spawn_blocking(move || tokenizer.cut(whole, most)).await;
        // A thread that could not be had leaves the text as it is; the model says what it thinks of it.
        cut.unwrap_or_else(|_| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    #[derive(Default)]
    struct Fake {
        asked: Mutex<Vec<Value>>,
        answer: Value,
    }

    #[async_trait]
    impl OwnCalls for Fake {
        async fn ask(&self, _: Endpoint, body: Value, _: OnBehalf<'_>) -> Result<Value, String> {
            self.asked.lock().unwrap().push(body);
            match &self.answer {
                Value::Null => std::future::pending().await,
                answer => Ok(answer.clone()),
            }
        }
    }

    fn embedder(answer: Value, tokens_max: Option<u64>) -> (Arc<Fake>, Embedder) {
        let fake = Arc::new(Fake {
            answer,
            ..Fake::default()
        });
        (
            fake.clone(),
            Embedder::new(fake, "e".to_owned(), tokens_max),
        )
    }

    fn by() -> (Arc<witgate_identity::Principal>, &'static str) {
        (Arc::default(), "call")
    }

    async fn one(embedder: &Embedder, text: &str) -> Result<Vec<f32>, String> {
        let (caller, call_id) = by();
        let by = OnBehalf {
            caller: &caller,
            call_id,
        };
        embedder.one(text, by).await
    }

    #[tokio::test]
    async fn texts_are_cut_to_what_the_model_takes() {
        let answer = json!({"data": [{"embedding": [1.0]}]});
        let (fake, embedder) = embedder(answer, Some(3));
        for text in ["one two three four five", "abc", "one two"] {
            one(&embedder, text).await.unwrap();
        }
        let asked = fake.asked.lock().unwrap();
        let inputs: Vec<&str> = asked.iter().filter_map(|b| b["input"].as_str()).collect();
        assert_eq!(inputs, ["one two three", "abc", "one two"]);
        assert_eq!(asked[0]["model"], "e");
    }

    #[tokio::test]
    async fn embeddings_are_in_the_order_of_their_texts() {
        let answer =
            json!({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]});
        let (_, embedder) = embedder(answer, None);
        let (caller, call_id) = by();
        let by = OnBehalf {
            caller: &caller,
            call_id,
        };
        let all = embedder
            .all(&["a".to_owned(), "b".to_owned()], by)
            .await
            .unwrap();
        assert_eq!(all, [[1.0], [2.0]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_embedding_is_told() {
        for (answer, told) in [
            (json!({}), "it has no data"),
            (json!({"data": []}), "it lacks embeddings"),
            (
                json!({"data": [{"embedding": "AAAA"}]}),
                "no list of numbers",
            ),
            (Value::Null, "no answer within 5 s"),
        ] {
            let (_, embedder) = embedder(answer, None);
            let error = one(&embedder, "x").await.unwrap_err();
            assert!(error.starts_with("e: ") && error.contains(told), "{error}");
        }
    }
}
