//! What is answered, in each protocol's own form, where no handler of the protocol answers.

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::route::Route;
use crate::wire::{Answered, RequestId, ResponseBody};

const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Why no handler answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The handler panicked.
    Internal,
    /// The audit is required, and cannot be written.
    Unavailable,
}

impl Failure {
    fn status(self) -> StatusCode {
        match self {
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code as `route`'s clients know it, and the text.
    fn words(self, route: Route) -> (&'static str, &'static str) {
        let code = match (self, route) {
            (Self::Internal, Route::Kms) => "KMSInternalException",
            (Self::Internal, Route::Query) => "InternalFailure",
            (Self::Internal, _) => "InternalError",
            (Self::Unavailable, Route::Kms) => "KeyUnavailableException",
            (Self::Unavailable, _) => "ServiceUnavailable",
        };
        let message = match self {
            Self::Internal => "We encountered an internal error. Please try again.",
            Self::Unavailable => "Service is unable to handle request. Please try again.",
        };
        (code, message)
    }

    /// The response.
    pub(super) fn answer(self, route: Route, id: &RequestId) -> Response<ResponseBody> {
        let (code, message) = self.words(route);
        let (content_type, body) = match route {
            Route::Admin => {
                let document = serde_json::json!({"code": code, "message": message, "requestId": id.id});
                ("application/json", format!("{document}\n"))
            }
            Route::Internal => ("text/plain", format!("{message}\n")),
            Route::CloudTrail | Route::Kms => {
                ("application/x-amz-json-1.1", format!(r#"{{"__type":"{code}","message":"{message}"}}"#))
            }
            Route::Query => ("text/xml", query_error(code, message, id)),
            Route::S3 => (
                "application/xml",
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                     <RequestId>{}</RequestId><HostId>{}</HostId></Error>",
                    id.id, id.extended
                ),
            ),
        };
        let mut response = Response::new(ResponseBody::from(body));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if route.is_rpc()
            && let Ok(value) = HeaderValue::from_str(&id.id)
        {
            response.headers_mut().insert(X_AMZN_REQUEST_ID, value);
        }
        response.extensions_mut().insert(Answered {
            protocol: route.name(),
            operation: "Unknown",
            access_key_id: None,
            error_code: Some(code),
        });
        response
    }
}

fn query_error(code: &str, message: &str, id: &RequestId) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    <Type>Receiver</Type>\n    \
         <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>{id}</RequestId>\n\
         </ErrorResponse>\n"
    )
}
