//! What the tools cost that a provider runs by itself: web search, file search.

use rust_decimal::Decimal;

use super::cost::{add, mul};
use super::lookup::family;
use super::model::{ModelPrice, parse_decimal};
use crate::json::Raw;
use crate::request::RequestView;
use crate::usage::Usage;

/// Prices of tools that no entry of the map states, in US dollars. The default is LiteLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolPrices {
    /// `OPENAI_FILE_SEARCH_COST_PER_1K_CALLS`: of one call, in spite of the name.
    pub file_search_call: Decimal,
    /// `AZURE_FILE_SEARCH_COST_PER_GB_PER_DAY`
    pub azure_file_search_gb_day: Decimal,
}

/// A web search of Gemini whose entry says nothing of searches.
const GEMINI_SEARCH: Decimal = Decimal::from_parts(35, 0, 0, false, 3);

/// A web search of xAI whose entry says nothing of searches.
const XAI_SEARCH: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

impl Default for ToolPrices {
    fn default() -> ToolPrices {
        ToolPrices {
            file_search_call: Decimal::new(25, 4),
            azure_file_search_gb_day: Decimal::new(1, 1),
        }
    }
}

impl ToolPrices {
    /// The prices that the operator's variables state, the others as they are.
    pub fn read(stated: impl Fn(&str) -> Option<Decimal>) -> ToolPrices {
        let default = ToolPrices::default();
        let price = |name| stated(name).filter(|price| *price >= Decimal::ZERO);
        ToolPrices {
            file_search_call: price("OPENAI_FILE_SEARCH_COST_PER_1K_CALLS")
                .unwrap_or(default.file_search_call),
            azure_file_search_gb_day: price("AZURE_FILE_SEARCH_COST_PER_GB_PER_DAY")
                .unwrap_or(default.azure_file_search_gb_day),
        }
    }
}

/// What kinds of sources an answer cites; upstreams tell of searches in no other way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cited {
    /// A page of the web.
    pub pages: bool,
    /// A file.
    pub files: bool,
}

impl Cited {
    /// What an answer's choices cite, in `message` or `delta`.
    pub fn read(body: &[u8]) -> Cited {
        let mut cited = Cited::default();
        // Few answers cite anything, and the others are not read.
        if memchr::memmem::find(body, b"_citation\"").is_none() {
            return cited;
        }
        let choices = Raw::new(body).get("choices").into_iter();
        for choice in choices.flat_map(Raw::elements) {
            let said = choice.get("message").or_else(|| choice.get("delta"));
            let annotations = said.and_then(|said| said.get("annotations"));
            for annotation in annotations.into_iter().flat_map(Raw::elements) {
                let kind = annotation.get("type").and_then(Raw::as_str);
                match kind.as_deref() {
                    Some("url_citation") => cited.pages = true,
                    Some("file_citation") => cited.files = true,
                    _ => {}
                }
            }
        }
        cited
    }

    /// Adds what another part of the answer cites.
    pub fn add(&mut self, other: Cited) {
        self.pages |= other.pages;
        self.files |= other.files;
    }
}

/// `search_context_size` of a request: how much of each search the model reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SearchContext {
    /// `low`
    Low,
    /// `medium`
    #[default]
    Medium,
    /// `high`
    High,
}

/// A search in files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileSearch {
    /// How many gigabytes are kept for it, times the days: `storage_gb` and `days` of the tool.
    pub gb_days: Decimal,
}

/// The tools that a call has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolUse {
    /// Web searches.
    pub web_searches: u64,
    /// How much of each the model read.
    pub search_context: SearchContext,
    /// A search in files, which the request has asked for and the answer cites.
    pub file_search: Option<FileSearch>,
}

impl ToolUse {
    /// What the usage counts, else what the answer cites. The request is read only where the answer cites something.
    pub fn of(request: Option<&RequestView>, cited: Cited, usage: &Usage) -> ToolUse {
        let counted = usage.web_searches;
        let web_searches = counted.unwrap_or(cited.pages.into());
        if web_searches == 0 && !cited.files {
            return ToolUse::default();
        }
        let tools = request.and_then(|request| request.field("tools"));
        let tools = || tools.into_iter().flat_map(Raw::elements);
        let options = request.and_then(|request| request.field("web_search_options"));
        let size = |of: Raw<'_>| search_context(of.get("search_context_size")?);
        let of_tools = || tools().filter(|tool| is_web_search(*tool)).find_map(size);
        let searched = || tools().find(|tool| is_of(*tool, "file_search"));
        ToolUse {
            web_searches,
            search_context: options.and_then(size).or_else(of_tools).unwrap_or_default(),
            file_search: cited.files.then(searched).flatten().map(file_search),
        }
    }

    /// US dollars for them all.
    pub(super) fn cost(&self, provider: &str, price: &ModelPrice, prices: &ToolPrices) -> Decimal {
        let web = self.web(provider, price);
        let files = self
            .file_search
            .map(|search| search.cost(provider, price, prices));
        add(web, files.unwrap_or_default())
    }

    fn web(&self, provider: &str, price: &ModelPrice) -> Decimal {
        if self.web_searches == 0 {
            return Decimal::ZERO;
        }
        let stated = price.search(self.search_context as usize);
        let google = ["gemini", "vertex_ai"].contains(&family(provider));
        let known = match provider {
            "xai" => Some(XAI_SEARCH),
            _ if google && !price.key.contains("claude") => Some(GEMINI_SEARCH),
            _ => None,
        };
        // Google takes money for a prompt that was searched for, however often.
        let is_by_prompt = google && known.is_some() && !price.pays_each_search;
        let paid = match is_by_prompt {
            true => 1,
            false => self.web_searches,
        };
        mul(paid, stated.or(known).unwrap_or_default())
    }
}

impl FileSearch {
    fn cost(&self, provider: &str, price: &ModelPrice, prices: &ToolPrices) -> Decimal {
        let by_storage = |rate: Decimal| self.gb_days.saturating_mul(rate);
        let is_azure = family(provider) == "azure";
        match (
            price.field("file_search_cost_per_gb_per_day"),
            price.field("file_search_cost_per_1k_calls"),
        ) {
            (Some(rate), _) if is_azure => by_storage(rate),
            // Of one call, in spite of the name.
            (_, Some(call)) => call,
            _ if is_azure => by_storage(prices.azure_file_search_gb_day),
            _ => prices.file_search_call,
        }
    }
}

fn is_of(tool: Raw<'_>, kind: &str) -> bool {
    let own = tool.get("type").and_then(Raw::as_str);
    own.is_some_and(|own| own == kind)
}

fn is_web_search(tool: Raw<'_>) -> bool {
    is_of(tool, "web_search")
        || is_of(tool, "web_search_preview")
        || tool.get("search_context_size").is_some()
}

fn search_context(size: Raw<'_>) -> Option<SearchContext> {
    match &*size.as_str()? {
        "low" => Some(SearchContext::Low),
        "medium" => Some(SearchContext::Medium),
        "high" => Some(SearchContext::High),
        _ => None,
    }
}

/// What a client says that is below 0 or no number is nothing: nobody is paid for a search.
fn file_search(tool: Raw<'_>) -> FileSearch {
    let number = |name: &str| {
        let value = tool.get(name)?;
        let text = value.as_str().unwrap_or_else(|| value.text().into());
        parse_decimal(&text).filter(|number| *number >= Decimal::ZERO)
    };
    let gb_days = number("storage_gb").zip(number("days"));
    FileSearch {
        gb_days: gb_days
            .map(|(gb, days)| gb.saturating_mul(days))
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{CostContext, Prices, cost};
    use super::*;
    use crate::request::Endpoint;

    const FILES: Cited = Cited {
        pages: false,
        files: true,
    };
    const PAGES: Cited = Cited {
        pages: true,
        files: false,
    };

    fn used(request: &str, cited: Cited, usage: &Usage) -> ToolUse {
        let body = Bytes::from(request.to_owned());
        let request = RequestView::parse(Endpoint::ChatCompletions, body).unwrap();
        ToolUse::of(Some(&request), cited, usage)
    }

    fn dollars(provider: &str, model: &str, tools: ToolUse) -> String {
        let price = Prices::new().lookup(provider, model).unwrap();
        let context = CostContext {
            provider,
            tools,
            ..CostContext::default()
        };
        let cost = cost(&Usage::default(), &price, &context);
        assert_eq!(cost.total, cost.tools);
        cost.tools.normalize().to_string()
    }

    #[test]
    fn an_answer_tells_what_it_cites() {
        let body = |kind: &str| {
            format!(
                r#"{{"choices":[{{"message":{{"content":"\"url_citation\"","annotations":[{{"type":"{kind}"}}]}}}}]}}"#
            )
        };
        assert_eq!(Cited::read(body("url_citation").as_bytes()), PAGES);
        assert_eq!(Cited::read(body("file_citation").as_bytes()), FILES);
        assert_eq!(Cited::read(body("x_citation").as_bytes()), Cited::default());
        let delta = br#"{"choices":[{"delta":{"annotations":[{"type":"file_citation"}]}}]}"#;
        assert_eq!(Cited::read(delta), FILES);
        assert_eq!(Cited::read(b"\"_citation\""), Cited::default());
    }

    #[test]
    fn searches_of_the_web_cost_by_what_is_read_and_how_they_are_counted() {
        let none = Usage::default();
        let counted = |n| Usage {
            web_searches: Some(n),
            ..Usage::default()
        };
        let low = r#"{"web_search_options":{"search_context_size":"low"}}"#;
        let high = r#"{"tools":[{"type":"web_search","search_context_size":"high"}]}"#;
        for (request, dollars_of_it) in [(low, "0.005"), ("{}", "0.008"), (high, "0.012")] {
            let tools = used(request, PAGES, &none);
            assert_eq!(
                dollars("perplexity", "sonar", tools),
                dollars_of_it,
                "{request}"
            );
        }
        let model = "gpt-4o-search-preview";
        assert_eq!(dollars("openai", model, used(low, PAGES, &none)), "0.025");
        let claude = "claude-sonnet-4-5";
        let tools = used("{}", Cited::default(), &counted(3));
        assert_eq!(dollars("anthropic", claude, tools), "0.03");
        // A prompt, however often it was searched for; and a model without a price of searches.
        assert_eq!(dollars("gemini", "gemini-2.5-flash", tools), "0.035");
        assert_eq!(dollars("openai", "gpt-3.5-turbo", tools), "0");
        let nothing = used(low, Cited::default(), &counted(0));
        assert_eq!(dollars("openai", model, nothing), "0");
    }

    #[test]
    fn a_search_in_files_costs_by_the_call_and_with_azure_by_what_is_kept() {
        let none = Usage::default();
        let asked = |more: &str| {
            let request = format!(r#"{{"tools":[{{"type":"file_search"{more}}}]}}"#);
            used(&request, FILES, &none)
        };
        assert_eq!(dollars("openai", "gpt-4o", asked("")), "0.0025");
        let kept = asked(r#","storage_gb":2,"days":"3""#);
        assert_eq!(dollars("azure", "gpt-4o", kept), "0.6");
        assert_eq!(dollars("azure", "gpt-4o", asked("")), "0");
        let odd = asked(r#","storage_gb":-2,"days":3"#);
        assert_eq!(dollars("azure", "gpt-4o", odd), "0");
        let huge = asked(r#","storage_gb":79228162514264337593543950335,"days":1e12"#);
        assert!(dollars("azure", "gpt-4o", huge).starts_with("79228"));
        // Not asked for, or not cited.
        assert_eq!(used("{}", FILES, &none).file_search, None);
        let request = r#"{"tools":[{"type":"file_search"}]}"#;
        assert_eq!(used(request, Cited::default(), &none), ToolUse::default());
        let free = ToolPrices::read(|_| Some(Decimal::ZERO));
        assert_eq!(free.file_search_call, Decimal::ZERO);
        let below = ToolPrices::read(|_| Some(Decimal::NEGATIVE_ONE));
        assert_eq!(below, ToolPrices::default());
    }
}
