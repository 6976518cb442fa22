//! The form: `multipart/form-data` (RFC 7578), its fields read into memory, its file left to be streamed.

use std::time::Duration;

use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use multer::{Field, Multipart};

use super::feed::Feed;
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::wire::{BoxError, RequestBody};

/// The field that is the file; all behind it are ignored.
const FILE: &str = "file";
/// What stands for the file's name in the key.
const FILENAME: &str = "${filename}";

/// A form whose fields have been read.
pub struct Form {
    pub fields: Fields,
    /// The file's bytes, not read yet.
    pub file: RequestBody,
}

/// The fields, by lower-case name.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Form {
    /// Reads up to the file, which must begin within `timeout` and 20 KiB: nobody has said yet who sends all this.
    ///
    /// # Errors
    /// `PreconditionFailed` for another enclosure type; `MalformedPOSTRequest`, `MaxPostPreDataLengthExceeded`,
    /// `InvalidArgument` without a file, `IncompleteBody`, `RequestTimeout`.
    pub async fn read(headers: &HeaderMap, body: RequestBody, timeout: Duration) -> Result<Self> {
        let read = tokio::time::timeout(timeout, Self::read_fields(headers, body));
        read.await.map_err(|_| ErrorCode::RequestTimeout)?
    }

    async fn read_fields(headers: &HeaderMap, body: RequestBody) -> Result<Self> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(ErrorCode::PreconditionFailed
                .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"));
        }
        let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
        let feed = Feed::new(body);
        let mut parts = Multipart::new(feed.stream(), boundary);
        let mut fields = Fields::default();
        loop {
            let Some(mut part) = feed.parse(|cx| parts.poll_next_field(cx)).await? else {
                return Err(S3Error::argument("file", "0", "POST requires exactly one file upload per request."));
            };
            let name = part.name().map(str::to_ascii_lowercase).ok_or(ErrorCode::MalformedPostRequest)?;
            if name == FILE {
                if let Some(file_name) = part.file_name() {
                    fields.substitute_file_name(file_name);
                }
                feed.open();
                return Ok(Self { fields, file: stream(part) });
            }
            let mut value = Vec::new();
            while let Some(chunk) = feed.parse(|cx| part.poll_next_unpin(cx).map(Option::transpose)).await? {
                value.extend_from_slice(&chunk);
            }
            let value = String::from_utf8(value).map_err(|_| ErrorCode::MalformedPostRequest)?;
            fields.0.push((name, value));
        }
    }
}

impl Fields {
    /// The first value of the field called `name`, in lower case.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All values of the fields called `name`, in lower case.
    pub fn values<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The first value unless it is empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// A field that a signed form must have.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn required(&self, name: &'static str, shown: &str) -> Result<&str> {
        self.value(name).ok_or_else(|| {
            let message =
                format!("Bucket POST must contain a field named '{shown}'.  If it is specified, please check the order of the fields.");
            S3Error::argument(shown, "", message)
        })
    }

    /// The names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The fields that PutObject has as headers, as headers.
    ///
    /// # Errors
    /// `InvalidArgument` for a value that no header can hold.
    pub fn to_headers(&self) -> Result<HeaderMap> {
        const PLAIN: &[&str] = &[
            "cache-control",
            "content-disposition",
            "content-encoding",
            "content-language",
            "content-md5",
            "content-type",
            "expires",
        ];
        const OF_THE_FORM: &[&str] =
            &["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            let name = match name.as_str() {
                "acl" => "x-amz-acl",
                "tagging" => "x-amz-tagging",
                name if PLAIN.contains(&name) => name,
                name if name.starts_with("x-amz-") && !OF_THE_FORM.contains(&name) => name,
                _ => continue,
            };
            let refused = || S3Error::argument(name, value, "The value cannot be kept with the object.");
            let header = HeaderName::try_from(name).map_err(|_| refused())?;
            headers.append(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?);
        }
        Ok(headers)
    }

    /// Some browsers send a path: its last part is the name.
    fn substitute_file_name(&mut self, file_name: &str) {
        let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        for (_, value) in self.0.iter_mut().filter(|(field, _)| field == "key") {
            *value = value.replace(FILENAME, name);
        }
    }

    #[cfg(test)]
    pub fn of(fields: &[(&str, &str)]) -> Self {
        Self(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

fn stream(file: Field<'static>) -> RequestBody {
    let frames = file.map(|chunk| chunk.map(http_body::Frame::data).map_err(BoxError::from));
    StreamBody::new(frames).boxed_unsync()
}

/// What is told of a form that cannot be read.
pub(super) fn malformed(error: multer::Error) -> S3Error {
    match error {
        multer::Error::StreamReadFailed(error) => S3Error::broke_off(error),
        error => S3Error::from(ErrorCode::MalformedPostRequest).because(error),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::s3::post::feed::MAX_FIELDS;

    async fn read(body: &str) -> Result<(Fields, Bytes)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=edge"));
        let body = Full::new(Bytes::from(body.replace('\n', "\r\n"))).map_err(|never| match never {}).boxed_unsync();
        let form = Form::read(&headers, body, Duration::from_secs(60)).await?;
        let file = form.file.collect().await.map_err(S3Error::internal)?.to_bytes();
        Ok((form.fields, file))
    }

    fn field(name: &str, value: &str) -> String {
        format!("--edge\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n")
    }

    fn file(name: &str, bytes: &str) -> String {
        format!(
            "--edge\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\nContent-Type: x/y\n\n{bytes}\n"
        )
    }

    #[tokio::test]
    async fn fields_come_before_the_file_and_all_behind_it_is_ignored() {
        let body =
            [&field("Key", "u/${filename}"), &file("a\\b/c.txt", "--edg\n--edg?e"), &field("late", "x"), "--edge--\n"]
                .concat();
        let (fields, bytes) = read(&body).await.unwrap();
        assert_eq!(fields.value("key"), Some("u/c.txt"));
        assert_eq!(fields.names().collect::<Vec<_>>(), ["key"]);
        assert_eq!(bytes, "--edg\r\n--edg?e");
    }

    #[tokio::test]
    async fn forms_that_are_none() {
        let code = async |body: &str| read(body).await.map(|_| ()).map_err(|error| error.code);
        assert_eq!(code(&[&field("key", "k"), "--edge--\n"].concat()).await, Err(ErrorCode::InvalidArgument));
        assert_eq!(code("nonsense").await, Err(ErrorCode::MalformedPostRequest));
        assert_eq!(code("").await, Err(ErrorCode::MalformedPostRequest));
        let long = field("x-ignore-a", &"x".repeat(MAX_FIELDS));
        assert_eq!(
            code(&[&long, &file("f", ""), "--edge--\n"].concat()).await,
            Err(ErrorCode::MaxPostPreDataLengthExceeded)
        );
        let none = Full::default().map_err(|never| match never {}).boxed_unsync();
        let plain = Form::read(&HeaderMap::new(), none, Duration::from_secs(60)).await;
        assert_eq!(plain.map(|_| ()).unwrap_err().code, ErrorCode::PreconditionFailed);
    }

    #[tokio::test]
    async fn all_that_comes_before_the_file_is_bounded() {
        const TOO_LONG: Result<(), ErrorCode> = Err(ErrorCode::MaxPostPreDataLengthExceeded);
        let code = async |body: &str| read(body).await.map(|_| ()).map_err(|error| error.code);
        let end = [&file("f", &"x".repeat(3 * MAX_FIELDS)), "--edge--\n"].concat();
        let empty = field("x-ignore-a", "");
        assert_eq!(code(&[&empty.repeat(100), &end[..]].concat()).await, Ok(()));
        assert_eq!(code(&[&empty.repeat(1000), &end[..]].concat()).await, TOO_LONG);
        assert_eq!(code(&["y".repeat(1000), "\n".to_owned(), end.clone()].concat()).await, Ok(()));
        assert_eq!(code(&["y".repeat(MAX_FIELDS), "\n".to_owned(), end.clone()].concat()).await, TOO_LONG);
        let endless = format!("--edge\nX-Ignore: {}", "z".repeat(MAX_FIELDS));
        assert_eq!(code(&endless).await, TOO_LONG);
        // Up to the last byte that may be.
        let head = file("f", "").trim_end_matches('\n').replace('\n', "\r\n").len() + "\r\n\r\n".len();
        let around = field("x-ignore-a", "").replace('\n', "\r\n").len();
        let filled =
            |spare: usize| [field("x-ignore-a", &"x".repeat(MAX_FIELDS - head - around + spare)), end.clone()].concat();
        assert_eq!(code(&filled(0)).await, Ok(()));
        assert_eq!(code(&filled(1)).await, TOO_LONG);
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_must_begin_in_time() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=edge"));
        let drops = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(b"y"))), ()))
        });
        let body = StreamBody::new(drops.boxed()).boxed_unsync();
        let read = Form::read(&headers, body, Duration::from_secs(5)).await;
        assert_eq!(read.map(|_| ()).unwrap_err().code, ErrorCode::RequestTimeout);
    }

    #[tokio::test]
    async fn a_file_without_a_name_leaves_the_key_as_it_is() {
        let nameless = "--edge\nContent-Disposition: form-data; name=\"file\"\n\nbytes\n--edge--\n";
        let (fields, bytes) = read(&[&field("key", "u/${filename}"), nameless].concat()).await.unwrap();
        assert_eq!((fields.value("key"), &bytes[..]), (Some("u/${filename}"), &b"bytes"[..]));
    }

    #[test]
    fn fields_become_the_headers_of_a_put() {
        let fields = Fields::of(&[
            ("key", "k"),
            ("content-type", "text/plain"),
            ("x-amz-meta-a", "1"),
            ("acl", "private"),
            ("x-amz-credential", "c"),
            ("success_action_status", "201"),
        ]);
        let headers = fields.to_headers().unwrap();
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-amz-acl", "x-amz-meta-a"]);
        assert!(Fields::of(&[("content-type", "a\nb")]).to_headers().is_err());
    }
}
