//! The pages that a website shows for errors of its own.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::s3::error::S3Error;
use crate::s3::headers::insert;
use crate::wire::{RequestId, ResponseBody};

/// The page of `error`; `second` is what came of looking for the website's own error document.
pub(super) fn of_error(error: &S3Error, second: Option<&S3Error>, id: &RequestId) -> Response<ResponseBody> {
    let mut items = items(error);
    items.push(("RequestId", id.id.clone()));
    items.push(("HostId", id.extended.clone()));
    let mut html = list(&items);
    if let Some(second) = second {
        html.push_str("<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n");
        html.push_str(&list(&self::items(second)));
    }
    let status = error.code.status();
    let mut response = page(status, &html);
    write_headers(error, response.headers_mut());
    response
}

/// The page of a redirection that nobody configured: to a directory.
pub(super) fn found(id: &RequestId) -> Response<ResponseBody> {
    let items = [
        ("Code", "Found".to_owned()),
        ("Message", "Resource Found".to_owned()),
        ("RequestId", id.id.clone()),
        ("HostId", id.extended.clone()),
    ];
    let mut response = page(StatusCode::FOUND, &list(&items));
    let headers = response.headers_mut();
    headers.insert("x-amz-error-code", HeaderValue::from_static("Found"));
    headers.insert("x-amz-error-message", HeaderValue::from_static("Resource Found"));
    response
}

/// Tells of `error` in headers, as beside a website's own error document.
pub(super) fn write_headers(error: &S3Error, headers: &mut HeaderMap) {
    for (name, value) in &error.headers {
        insert(headers, HeaderName::from_static(name), value);
    }
    insert(headers, HeaderName::from_static("x-amz-error-code"), error.code.as_str());
    insert(headers, HeaderName::from_static("x-amz-error-message"), &error.message);
    for (element, value) in &error.detail {
        if let Ok(name) = HeaderName::try_from(format!("x-amz-error-detail-{element}")) {
            insert(headers, name, value);
        }
    }
}

fn items(error: &S3Error) -> Vec<(&'static str, String)> {
    let told = [("Code", error.code.as_str().to_owned()), ("Message", error.message.to_string())];
    told.into_iter().chain(error.detail.iter().cloned()).collect()
}

fn list(items: &[(&str, String)]) -> String {
    let items: Vec<String> =
        items.iter().map(|(name, value)| format!("<li>{name}: {}</li>\n", escaped(value))).collect();
    format!("<ul>\n{}</ul>\n", items.concat())
}

fn page(status: StatusCode, body: &str) -> Response<ResponseBody> {
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let html = format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{body}<hr/>\n</body>\n</html>\n"
    );
    let mut response = Response::new(ResponseBody::from(html));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::ErrorCode;

    #[test]
    fn what_a_visitor_sent_is_shown_as_text() {
        let error = ErrorCode::NoSuchKey.with("Key", "<script>");
        let response = of_error(&error, None, &RequestId { id: "REQ".to_owned(), extended: "HOST".to_owned() });
        let ResponseBody::Full(Some(html)) = response.body() else { panic!("a page is at hand") };
        assert_eq!(
            std::str::from_utf8(html).unwrap(),
            "<html>\n<head><title>404 Not Found</title></head>\n<body>\n<h1>404 Not Found</h1>\n<ul>\n\
             <li>Code: NoSuchKey</li>\n<li>Message: The specified key does not exist.</li>\n<li>Key: &lt;script&gt;</li>\n\
             <li>RequestId: REQ</li>\n<li>HostId: HOST</li>\n</ul>\n<hr/>\n</body>\n</html>\n"
        );
        assert_eq!(response.headers()["x-amz-error-code"], "NoSuchKey");
        assert_eq!(response.headers()["x-amz-error-detail-key"], "<script>");
    }
}
