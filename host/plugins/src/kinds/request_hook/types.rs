//! What request hooks are told and what they say, and the way from and to their WIT.

use serde::{Deserialize, Serialize};

use super::super::guardrail::{Edit, Principal};
use super::super::json;
use super::generated;
use crate::PluginError;
use crate::bindings::witgate::host::body;
use crate::capabilities::RequestScope;

/// What a hook is told about a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HookCall {
    /// Call id.
    pub id: String,
    /// LiteLLM's `call_type`.
    pub call_type: String,
    /// Model group that is asked for.
    pub model: String,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Who asks.
    pub principal: Principal,
    /// The client's request, for what the plugin asks about it and keeps for it.
    #[serde(skip)]
    pub request: Option<RequestScope>,
}

/// What becomes of a body, or of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookDecision {
    /// These changes; none leaves it as it is.
    Proceed(Vec<Edit>),
    /// `pre_call` only: this text is the answer.
    Respond(String),
    /// This error.
    Refuse(HookError),
}

/// An error in the client's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HookError {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub message: String,
    /// The error's `type`.
    pub kind: Option<String>,
    /// The error's `param`.
    pub param: Option<String>,
    /// More, JSON.
    pub detail: Option<String>,
}

/// An entry of `model_list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookDeployment {
    /// `model_info.id`
    pub id: String,
    /// `model_name`
    pub model_name: String,
    /// `litellm_params` without secrets, a JSON object.
    pub params: String,
    /// `model_info`, a JSON object.
    pub info: String,
}

/// Which deployments may serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those with these ids.
    Keep(Vec<String>),
    /// None: this error.
    Refuse(HookError),
}

/// How a call failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookFailure {
    /// LiteLLM's class.
    pub class: String,
    /// The client's status.
    pub status: u16,
    /// The client's message.
    pub message: String,
}

/// A reply about to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReply {
    /// Its status.
    pub status: u16,
    /// Who answered, or was tried last.
    pub deployment: Option<HookDeployment>,
}

/// What becomes of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// It goes on as it is.
    Keep,
    /// These go in its place.
    Replace(Vec<String>),
    /// These go in its place, and the stream is over.
    End(Vec<String>),
    /// The stream ends with this error.
    Fail(HookError),
}

impl From<HookCall> for generated::Call {
    fn from(call: HookCall) -> Self {
        Self {
            id: call.id,
            call_type: call.call_type,
            model: call.model,
            streaming: call.stream,
            principal: call.principal.into(),
        }
    }
}

impl From<HookDeployment> for generated::Deployment {
    fn from(from: HookDeployment) -> Self {
        Self {
            id: from.id,
            model_name: from.model_name,
            params: from.params,
            info: from.info,
        }
    }
}

impl TryFrom<generated::Decision> for HookDecision {
    type Error = PluginError;

    fn try_from(from: generated::Decision) -> Result<Self, PluginError> {
        match from {
            generated::Decision::Proceed(edits) => self::edits(edits).map(Self::Proceed),
            generated::Decision::Refuse(error) => error.try_into().map(Self::Refuse),
        }
    }
}

impl TryFrom<generated::HttpError> for HookError {
    type Error = PluginError;

    fn try_from(from: generated::HttpError) -> Result<Self, PluginError> {
        Ok(Self {
            status: from.status,
            message: from.message,
            kind: from.kind,
            param: from.param,
            detail: from
                .detail
                .map(|detail| json(detail, "an error's detail"))
                .transpose()?,
        })
    }
}

impl TryFrom<generated::Piece> for Piece {
    type Error = PluginError;

    fn try_from(from: generated::Piece) -> Result<Self, PluginError> {
        let chunks = |chunks: Vec<String>| -> Result<Vec<String>, PluginError> {
            let chunks = chunks.into_iter();
            chunks.map(|chunk| json(chunk, "a chunk")).collect()
        };
        Ok(match from {
            generated::Piece::Keep => Self::Keep,
            generated::Piece::Replace(new) => Self::Replace(chunks(new)?),
            generated::Piece::End(new) => Self::End(chunks(new)?),
            generated::Piece::Fail(error) => Self::Fail(error.try_into()?),
        })
    }
}

pub(super) fn edits(from: Vec<body::Edit>) -> Result<Vec<Edit>, PluginError> {
    from.into_iter().map(Edit::try_from).collect()
}
