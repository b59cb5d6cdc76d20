use super::*;

#[test]
fn each_model_has_its_vocabulary() {
    let o200k = [
        "gpt-4o",
        "openai/gpt-4o-mini",
        "azure/my-gpt-4o-deployment",
        "o1",
        "o3-mini",
        "gpt-4.1-nano",
        "gpt-5",
        "gpt-5.1",
        "ft:gpt-4.1:org::id",
        "chatgpt-4o-latest",
        "gpt-oss-120b",
    ];
    let cl100k = [
        "gpt-4",
        "gpt-4-turbo",
        "gpt-3.5-turbo",
        "text-embedding-3-small",
        "claude-3-opus",
        "o10",
        "llama-3",
    ];
    for model in o200k {
        assert_eq!(Tokenizer::for_model(model), Tokenizer::O200k, "{model}");
    }
    for model in cl100k {
        assert_eq!(Tokenizer::for_model(model), Tokenizer::Cl100k, "{model}");
    }
}

#[test]
fn known_counts_of_texts() {
    // tiktoken's own examples.
    assert_eq!(Tokenizer::Cl100k.count_text("tiktoken is great!"), 6);
    assert_eq!(Tokenizer::Cl100k.count_text("hello world"), 2);
    assert_eq!(Tokenizer::O200k.count_text("hello world"), 2);
    assert_eq!(Tokenizer::O200k.count_text(""), 0);
}

#[test]
fn the_cookbook_conversation_counts_129() {
    // The example of OpenAI's cookbook, with the count that the API itself reported for gpt-4.
    let body = br#"{"messages":[
      {"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
      {"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
      {"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
      {"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
      {"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
      {"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}]}"#;
    let t = Tokenizer::for_model("gpt-4");
    assert_eq!(
        t.count_request(Endpoint::ChatCompletions, body, &Counting::default()),
        129
    );
    let t = Tokenizer::for_model("gpt-4o");
    assert_eq!(
        t.count_request(Endpoint::ChatCompletions, body, &Counting::default()),
        124
    );
}

#[test]
fn prompts_in_every_form() {
    let t = Tokenizer::Cl100k;
    let count =
        |endpoint, body: &str| t.count_request(endpoint, body.as_bytes(), &Counting::default());
    assert_eq!(
        count(Endpoint::Completions, r#"{"prompt":"hello world"}"#),
        2
    );
    assert_eq!(
        count(
            Endpoint::Completions,
            r#"{"prompt":["hello","hello world"]}"#
        ),
        3
    );
    assert_eq!(count(Endpoint::Embeddings, r#"{"input":[[1,2,3],[4]]}"#), 4);
    assert_eq!(count(Endpoint::Embeddings, r#"{"input":null}"#), 0);
    assert_eq!(count(Endpoint::Embeddings, "not json"), 0);
}

#[test]
fn parts_images_and_calls() {
    let t = Tokenizer::Cl100k;
    let chat = |message: &str| {
        let body = format!(r#"{{"messages":[{message}]}}"#);
        t.count_request(
            Endpoint::ChatCompletions,
            body.as_bytes(),
            &Counting::default(),
        ) - 6
    };
    let user = t.count_text("user");
    assert_eq!(chat(r#"{"role":"user","content":"hello world"}"#), user + 2);
    assert_eq!(
        chat(r#"{"role":"user","content":[{"type":"text","text":"hello world"}]}"#),
        user + 2
    );
    let image = |detail: &str| {
        let part =
            format!(r#"{{"type":"image_url","image_url":{{"url":"u","detail":"{detail}"}}}}"#);
        chat(&format!(r#"{{"role":"user","content":[{part}]}}"#)) - user
    };
    assert_eq!((image("low"), image("auto"), image("high")), (85, 85, 255));
    let call = r#"{"role":"user","content":null,"tool_calls":[{"id":"not counted","function":{"name":"f","arguments":"hello world"}}]}"#;
    assert_eq!(chat(call), user + 2);
}

#[test]
fn tools_add_their_rendering_and_constants() {
    let t = Tokenizer::Cl100k;
    let count = |extra: &str| {
        let body = format!(r#"{{"messages":[{{"role":"system","content":"x"}}]{extra}}}"#);
        t.count_request(
            Endpoint::ChatCompletions,
            body.as_bytes(),
            &Counting::default(),
        )
    };
    let tools = r#","tools":[{"type":"function","function":{"name":"weather","description":"Now",
        "parameters":{"type":"object","required":["city"],"properties":{
          "city":{"type":"string","description":"Where"},
          "unit":{"type":"string","enum":["c","f"]},
          "days":{"type":"array","items":{"type":"integer"}},
          "at":{"type":"object","properties":{"lat":{"type":"number"}}}}}}}]"#;
    let rendered = "namespace functions {\n\n// Now\ntype weather = (_: {\n// Where\ncity: string,\n\
        unit?: \"c\" | \"f\",\ndays?: number[],\nat?: {\n  lat?: number,\n},\n}) => any;\n\n} // namespace functions";
    let bare = count("");
    assert_eq!(count(tools), bare + t.count_text(rendered) + 9 - 4);
    assert_eq!(count(r#","tool_choice":"none""#), bare + 1);
    assert_eq!(count(r#","tool_choice":"auto""#), bare);
    let named = r#","tool_choice":{"type":"function","function":{"name":"weather"}}"#;
    assert_eq!(count(named), bare + 4 + t.count_text("weather"));
}

#[test]
fn a_text_is_cut_between_tokens_and_never_within_a_character() {
    let cut = |text: &str, most| Tokenizer::Cl100k.cut(text.to_owned(), most);
    assert_eq!(cut("one two three", 3), "one two three");
    assert_eq!(cut("one two three", 2), "one two");
    assert_eq!(cut("one two three", 0), "");
    let text = "\u{1f9ff}\u{1f9ff}\u{1f9ff}";
    for most in 0..12 {
        let kept = cut(text, most);
        assert!(text.starts_with(&kept));
        assert!(Tokenizer::Cl100k.count_text(&kept) <= most);
    }
}
