//! Cases of providers: the request for a call, and what is made of answers, failures and streams.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{
    Built, Credential, End, Failure, Frame, Parsed, Provider, ProviderCall, ProviderRequest,
    ProviderResponse, StreamProgress,
};

use super::drive::{Scene, failure, input, plain, unknown};

/// Where the deployment is when a case does not say.
const API_BASE: &str = "https://provider.test/v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallInput {
    #[serde(default = "chat")]
    call_type: String,
    #[serde(default)]
    model: String,
    /// OpenAI's JSON, as it comes out of the parameter rules.
    #[serde(default)]
    body: Value,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default = "api_base")]
    api_base: String,
    /// Names of the credentials that the deployment has.
    #[serde(default)]
    credentials: Vec<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerInput {
    /// What `build_request` gave as `context`.
    #[serde(default)]
    context: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// JSON, or text for anything else.
    #[serde(default)]
    body: Value,
    /// A stream's: the data of each frame, or pairs of event and data.
    #[serde(default)]
    frames: Vec<WireFrame>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireFrame {
    Of(String, Value),
    Data(Value),
}

fn chat() -> String {
    "chat".to_owned()
}

fn api_base() -> String {
    API_BASE.to_owned()
}

const fn ok() -> u16 {
    200
}

/// Calls the function that the scene names; an error means that the scene makes no sense.
pub(super) async fn call(provider: &Provider, scene: &Scene) -> Result<Value, String> {
    match scene.call.as_str() {
        "build_request" => build(provider, input(scene)?).await,
        "supported_params" => {
            let call: CallInput = input(scene)?;
            let params = provider
                .supported_params(&call.call_type, &call.model)
                .await;
            Ok(params.map_or_else(|error| failure(&error), |params| json!({"params": params})))
        }
        "parse_response" => {
            let (context, response) = answer(input(scene)?);
            Ok(match provider.parse_response(context, response).await {
                Ok(parsed) => parsed_value(parsed),
                Err(error) => failure(&error),
            })
        }
        "map_error" => {
            let (context, response) = answer(input(scene)?);
            Ok(match provider.map_error(context, response).await {
                Ok(Some(found)) => json!({"failed": failed(found)}),
                Ok(None) => json!({"failed": null}),
                Err(error) => failure(&error),
            })
        }
        "stream" => stream(provider, input(scene)?).await,
        other => Err(unknown(
            other,
            "build_request, parse_response, map_error, stream, supported_params or init",
        )),
    }
}

async fn build(provider: &Provider, from: CallInput) -> Result<Value, String> {
    let credentials = from.credentials.into_iter();
    let call = ProviderCall {
        id: "00000000-0000-4000-8000-000000000001".to_owned(),
        call_type: from.call_type,
        model: from.model,
        body: from.body.to_string(),
        params: Value::Object(from.params).to_string(),
        api_base: from.api_base,
        credentials: credentials
            .map(|name| Credential { name, prefix: None })
            .collect(),
        headers: from.headers,
    };
    Ok(match provider.build_request(call).await {
        Ok(Built::Request(request)) => json!({"request": request_value(request)}),
        Ok(Built::Refused(why)) => json!({"refused": failed(why)}),
        Err(error) => failure(&error),
    })
}

/// Every frame in a push of its own, then the end.
async fn stream(provider: &Provider, from: AnswerInput) -> Result<Value, String> {
    let frames: Vec<Frame> = from
        .frames
        .iter()
        .map(|frame| match frame {
            WireFrame::Of(event, data) => Frame {
                event: Some(event.clone()),
                data: bytes(data),
            },
            WireFrame::Data(data) => Frame {
                event: None,
                data: bytes(data),
            },
        })
        .collect();
    let (context, head) = answer(from);
    let mut parser = match provider.open_stream(context, head).await {
        Ok(parser) => parser,
        Err(error) => return Ok(failure(&error)),
    };
    let mut chunks = Vec::new();
    for frame in frames {
        match parser.push(vec![frame]).await {
            Ok(progress) => {
                if let Some(end) = take(progress, &mut chunks) {
                    return Ok(json!({"chunks": chunks, "end": end}));
                }
            }
            Err(error) => return Ok(json!({"chunks": chunks, "end": failure(&error)})),
        }
    }
    Ok(match parser.finish().await {
        Ok(progress) => {
            let end = take(progress, &mut chunks);
            json!({"chunks": chunks, "end": end})
        }
        Err(error) => json!({"chunks": chunks, "end": failure(&error)}),
    })
}

fn take(progress: StreamProgress, chunks: &mut Vec<Value>) -> Option<Value> {
    chunks.extend(progress.chunks.iter().map(|chunk| value(chunk.as_bytes())));
    Some(match progress.end? {
        End::Done => json!("done"),
        End::Failed(why) => json!({"failed": failed(why)}),
    })
}

fn answer(from: AnswerInput) -> (String, ProviderResponse) {
    let response = ProviderResponse {
        status: from.status,
        headers: from.headers,
        body: bytes(&from.body),
    };
    (from.context, response)
}

fn parsed_value(parsed: Parsed) -> Value {
    match parsed {
        Parsed::Answer(json) => json!({"answer": value(json.as_bytes())}),
        Parsed::Failed(why) => json!({"failed": failed(why)}),
        Parsed::Again(again) => {
            json!({"again": request_value(again.request), "delay_ms": again.delay_ms})
        }
    }
}

fn request_value(request: ProviderRequest) -> Value {
    plain(json!({
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "credential_headers": request.credential_headers,
        "body": value(&request.body),
        "framing": request.framing,
        "context": request.context,
    }))
}

fn failed(why: Failure) -> Value {
    plain(json!({
        "class": why.class,
        "message": why.message,
        "code": why.code,
        "param": why.param,
    }))
}

/// JSON as it is, anything else as text.
fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    }
}
