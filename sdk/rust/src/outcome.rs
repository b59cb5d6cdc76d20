//! What became of a batch: each kind that delivers has generated types of its own, of one shape.

/// The usual readings of responses, for one kind's types.
macro_rules! methods {
    ($outcome:ident, $again:ident) => {
        impl $outcome {
            /// The usual reading of a response to a whole batch: 2xx is delivered, 408, 429 and 5xx are tried again when the
            /// server says, anything else is refused for good.
            pub fn from_response(response: &$crate::http::Response) -> Self {
                if response.is_success() {
                    Self::Delivered
                } else if response.is_worth_a_retry() {
                    Self::Retry($again {
                        after_ms: response.retry_after_ms(),
                        reason: response.summary(),
                    })
                } else {
                    Self::Rejected(response.summary())
                }
            }

            /// The usual reading of a failed exchange: trouble on the way is tried again, a refusal by the host is an error.
            pub fn from_http_error(
                error: $crate::http::HttpError,
            ) -> ::std::result::Result<Self, $crate::Error> {
                match $crate::Error::from(error) {
                    $crate::Error::Unavailable(reason) => Ok(Self::Retry($again {
                        after_ms: None,
                        reason,
                    })),
                    error => Err(error),
                }
            }
        }
    };
}
pub(crate) use methods;
