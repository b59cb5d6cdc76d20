//! The kinds of upstream failures, under LiteLLM's names.

/// What kind of failure it was. LiteLLM's exception classes; routing reads the class, never the
/// text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// 400
    BadRequest,
    /// 400: a parameter that the provider does not support.
    UnsupportedParams,
    /// 400: the prompt is longer than the model takes.
    ContextWindowExceeded,
    /// 400: the provider's filter refused.
    ContentPolicyViolation,
    /// 401
    Authentication,
    /// 402
    PaymentRequired,
    /// 403
    PermissionDenied,
    /// 404
    NotFound,
    /// 408, or the upstream's 504.
    Timeout,
    /// 422
    UnprocessableEntity,
    /// 429
    RateLimit,
    /// 500
    InternalServer,
    /// 502
    BadGateway,
    /// 503
    ServiceUnavailable,
    /// No answer at all.
    ApiConnection,
    /// Any other status.
    Api,
}

impl ErrorClass {
    /// The exception's name, e.g. `RateLimitError`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::BadRequest => "BadRequestError",
            ErrorClass::UnsupportedParams => "UnsupportedParamsError",
            ErrorClass::ContextWindowExceeded => "ContextWindowExceededError",
            ErrorClass::ContentPolicyViolation => "ContentPolicyViolationError",
            ErrorClass::Authentication => "AuthenticationError",
            ErrorClass::PaymentRequired => "PaymentRequiredError",
            ErrorClass::PermissionDenied => "PermissionDeniedError",
            ErrorClass::NotFound => "NotFoundError",
            ErrorClass::Timeout => "Timeout",
            ErrorClass::UnprocessableEntity => "UnprocessableEntityError",
            ErrorClass::RateLimit => "RateLimitError",
            ErrorClass::InternalServer => "InternalServerError",
            ErrorClass::BadGateway => "BadGatewayError",
            ErrorClass::ServiceUnavailable => "ServiceUnavailableError",
            ErrorClass::ApiConnection => "APIConnectionError",
            ErrorClass::Api => "APIError",
        }
    }

    /// The class of an exception's name, with or without the `litellm.` before it.
    pub fn from_name(name: &str) -> Option<ErrorClass> {
        let name = name.strip_prefix("litellm.").unwrap_or(name);
        ALL.into_iter().find(|class| class.name() == name)
    }

    /// The status that clients get.
    pub fn status(self) -> u16 {
        match self {
            ErrorClass::BadRequest
            | ErrorClass::UnsupportedParams
            | ErrorClass::ContextWindowExceeded
            | ErrorClass::ContentPolicyViolation => 400,
            ErrorClass::Authentication => 401,
            ErrorClass::PaymentRequired => 402,
            ErrorClass::PermissionDenied => 403,
            ErrorClass::NotFound => 404,
            ErrorClass::Timeout => 408,
            ErrorClass::UnprocessableEntity => 422,
            ErrorClass::RateLimit => 429,
            ErrorClass::InternalServer | ErrorClass::ApiConnection | ErrorClass::Api => 500,
            ErrorClass::BadGateway => 502,
            ErrorClass::ServiceUnavailable => 503,
        }
    }

    /// The class of a status, where no text says otherwise. Without a status there was no answer.
    pub fn of_status(provider: &str, status: Option<u16>) -> ErrorClass {
        let Some(status) = status else {
            return ErrorClass::ApiConnection;
        };
        match status {
            401 => ErrorClass::Authentication,
            402 => ErrorClass::PaymentRequired,
            403 => ErrorClass::PermissionDenied,
            404 => ErrorClass::NotFound,
            408 | 504 | 524 => ErrorClass::Timeout,
            422 if !has_422_for_bad_request(provider) => ErrorClass::UnprocessableEntity,
            429 => ErrorClass::RateLimit,
            400..=499 => ErrorClass::BadRequest,
            500 if matches!(provider, "bedrock" | "huggingface" | "replicate") => {
                ErrorClass::ServiceUnavailable
            }
            500 | 529 => ErrorClass::InternalServer,
            502 if matches!(provider, "vertex_ai" | "vertex_ai_beta" | "gemini") => {
                ErrorClass::ApiConnection
            }
            502 => ErrorClass::BadGateway,
            503 => ErrorClass::ServiceUnavailable,
            _ => ErrorClass::Api,
        }
    }

    /// The exception's message as clients see it: `litellm.<Class>: <Provider>Exception - <text>`.
    pub fn message(self, provider: &str, text: &str) -> String {
        let base = match self {
            ErrorClass::ContextWindowExceeded | ErrorClass::ContentPolicyViolation => {
                "litellm.BadRequestError: "
            }
            _ => "",
        };
        let provider = super::exception_name(provider);
        format!("litellm.{}: {base}{provider} - {text}", self.name())
    }
}

/// OpenAI's dialect, Azure and Bedrock: LiteLLM makes their 422 a bad request, whose status is 422 in the latest.
fn has_422_for_bad_request(provider: &str) -> bool {
    !matches!(
        provider,
        "anthropic"
            | "cohere"
            | "cohere_chat"
            | "gemini"
            | "huggingface"
            | "replicate"
            | "vertex_ai"
            | "vertex_ai_beta"
    )
}

/// True for the statuses that may succeed when asked again: 408, 409, 429 and 5xx.
pub fn is_retryable_status(status: u16) -> bool {
    matches!(status, 408 | 409 | 429 | 500..)
}

const ALL: [ErrorClass; 16] = [
    ErrorClass::BadRequest,
    ErrorClass::UnsupportedParams,
    ErrorClass::ContextWindowExceeded,
    ErrorClass::ContentPolicyViolation,
    ErrorClass::Authentication,
    ErrorClass::PaymentRequired,
    ErrorClass::PermissionDenied,
    ErrorClass::NotFound,
    ErrorClass::Timeout,
    ErrorClass::UnprocessableEntity,
    ErrorClass::RateLimit,
    ErrorClass::InternalServer,
    ErrorClass::BadGateway,
    ErrorClass::ServiceUnavailable,
    ErrorClass::ApiConnection,
    ErrorClass::Api,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_class() {
        for class in ALL {
            assert_eq!(ErrorClass::from_name(class.name()), Some(class));
            assert_eq!(
                ErrorClass::from_name(&format!("litellm.{}", class.name())),
                Some(class)
            );
        }
        assert_eq!(ErrorClass::from_name("Exception"), None);
    }

    #[test]
    fn messages_carry_class_and_provider() {
        assert_eq!(
            ErrorClass::RateLimit.message("openai", "slow"),
            "litellm.RateLimitError: OpenAIException - slow"
        );
        assert_eq!(
            ErrorClass::ContextWindowExceeded.message("azure", "long"),
            "litellm.ContextWindowExceededError: litellm.BadRequestError: AzureException - long"
        );
    }

    #[test]
    fn statuses_and_classes() {
        let rows = [
            (400, ErrorClass::BadRequest),
            (401, ErrorClass::Authentication),
            (402, ErrorClass::PaymentRequired),
            (403, ErrorClass::PermissionDenied),
            (404, ErrorClass::NotFound),
            (408, ErrorClass::Timeout),
            (409, ErrorClass::BadRequest),
            (413, ErrorClass::BadRequest),
            (422, ErrorClass::BadRequest),
            (429, ErrorClass::RateLimit),
            (500, ErrorClass::InternalServer),
            (502, ErrorClass::BadGateway),
            (503, ErrorClass::ServiceUnavailable),
            (504, ErrorClass::Timeout),
            (529, ErrorClass::InternalServer),
            (599, ErrorClass::Api),
            (302, ErrorClass::Api),
        ];
        for (status, class) in rows {
            assert_eq!(
                ErrorClass::of_status("openai", Some(status)),
                class,
                "{status}"
            );
        }
        assert_eq!(
            ErrorClass::of_status("openai", None),
            ErrorClass::ApiConnection
        );
        assert_eq!(
            ErrorClass::of_status("bedrock", Some(500)),
            ErrorClass::ServiceUnavailable
        );
        let retryable: Vec<u16> = (100..600)
            .filter(|s| is_retryable_status(*s))
            .take(4)
            .collect();
        assert_eq!(retryable, [408, 409, 429, 500]);
    }
}
