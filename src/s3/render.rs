//! The only place that writes an S3 response's envelope: success documents and errors.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::error::{ErrorCode, S3Error};
use super::xml::XmlWriter;
use crate::wire::{RequestId, ResponseBody};

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    response
}

/// 200 with an XML document.
pub fn document(xml: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(xml));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// 200 with a JSON document.
pub fn json(text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The response that tells a client of `error`.
pub fn error(error: &S3Error, id: &RequestId) -> Response<ResponseBody> {
    respond(error, error_document(error, id))
}

/// The same from S3 Control, whose clients look for the error inside an `ErrorResponse`.
pub fn control_error(error: &S3Error, id: &RequestId) -> Response<ResponseBody> {
    respond(error, control_error_document(error, id))
}

fn control_error_document(error: &S3Error, id: &RequestId) -> String {
    XmlWriter::bare_document("ErrorResponse", |xml| {
        xml.element("Error", |xml| write_error(xml, error));
        xml.text("RequestId", &id.id);
        xml.text("HostId", &id.extended);
    })
}

fn respond(error: &S3Error, xml: String) -> Response<ResponseBody> {
    // RFC 9110, section 15.4.5: a 304 has no content.
    if error.code == ErrorCode::NotModified {
        return empty(StatusCode::NOT_MODIFIED);
    }
    let mut response = document(xml);
    *response.status_mut() = error.code.status();
    for (name, value) in &error.headers {
        super::headers::insert(response.headers_mut(), HeaderName::from_static(name), value);
    }
    if let Some((_, size)) = error.detail.iter().find(|(element, _)| *element == "ActualObjectSize")
        && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
    {
        response.headers_mut().insert(http::header::CONTENT_RANGE, range);
    }
    response
}

/// The `<Error>` document, which also stands in the body of a 200 where the failure came after the head was sent.
pub fn error_document(error: &S3Error, id: &RequestId) -> String {
    XmlWriter::bare_document("Error", |xml| {
        write_error(xml, error);
        xml.text("RequestId", &id.id);
        xml.text("HostId", &id.extended);
    })
}

fn write_error(xml: &mut XmlWriter, error: &S3Error) {
    xml.text("Code", error.code.as_str());
    xml.text("Message", &error.message);
    for (element, value) in &error.detail {
        xml.text(element, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> RequestId {
        RequestId { id: "REQ".to_owned(), extended: "HOST".to_owned() }
    }

    #[test]
    fn errors_carry_their_details_in_aws_order() {
        let xml = error_document(&ErrorCode::NoSuchKey.with("Key", "a<b"), &id());
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does \
             not exist.</Message><Key>a&lt;b</Key><RequestId>REQ</RequestId><HostId>HOST</HostId></Error>"
        );
    }

    #[test]
    fn errors_of_s3_control_are_wrapped() {
        let xml = control_error_document(&ErrorCode::MethodNotAllowed.into(), &id());
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse><Error><Code>MethodNotAllowed</Code><Message>The \
             specified method is not allowed against this resource.</Message></Error><RequestId>REQ</RequestId>\
             <HostId>HOST</HostId></ErrorResponse>"
        );
    }

    #[test]
    fn not_modified_has_no_content() {
        let response = error(&ErrorCode::NotModified.into(), &id());
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert!(response.headers().get(CONTENT_TYPE).is_none());
    }
}
