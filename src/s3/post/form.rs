//! The form: `multipart/form-data` (RFC 7578), its fields read into memory, its file left to be streamed.

use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use multer::{Field, Multipart};

use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::wire::{BoxError, RequestBody};

/// Most bytes of all fields before the file. (AWS: "POST Object", `MaxPostPreDataLengthExceeded`.)
const MAX_FIELDS: usize = 20 * 1024;
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
    /// Reads up to the file.
    ///
    /// # Errors
    /// `PreconditionFailed` for another enclosure type; `MalformedPOSTRequest`, `MaxPostPreDataLengthExceeded`,
    /// `InvalidArgument` without a file, `IncompleteBody`.
    pub async fn read(headers: &HeaderMap, body: RequestBody) -> Result<Self> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(ErrorCode::PreconditionFailed
                .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"));
        }
        let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
        let chunks = BodyStream::new(body).filter_map(async |frame| match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(error)),
        });
        let mut parts = Multipart::new(chunks.boxed(), boundary);
        let (mut fields, mut size) = (Fields::default(), 0);
        loop {
            let Some(mut part) = parts.next_field().await.map_err(malformed)? else {
                return Err(S3Error::argument("file", "0", "POST requires exactly one file upload per request."));
            };
            let name = part.name().map(str::to_ascii_lowercase).ok_or(ErrorCode::MalformedPostRequest)?;
            if name == FILE {
                fields.substitute_file_name(part.file_name().unwrap_or_default());
                return Ok(Self { fields, file: stream(part) });
            }
            let mut value = Vec::new();
            size += name.len();
            while let Some(chunk) = part.chunk().await.map_err(malformed)? {
                size += chunk.len();
                if size > MAX_FIELDS {
                    return Err(ErrorCode::MaxPostPreDataLengthExceeded.into());
                }
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

fn malformed(error: multer::Error) -> S3Error {
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

    async fn read(body: &str) -> Result<(Fields, Bytes)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=edge"));
        let body = Full::new(Bytes::from(body.replace('\n', "\r\n"))).map_err(|never| match never {}).boxed_unsync();
        let form = Form::read(&headers, body).await?;
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
        let plain = Form::read(&HeaderMap::new(), Full::default().map_err(|never| match never {}).boxed_unsync()).await;
        assert_eq!(plain.map(|_| ()).unwrap_err().code, ErrorCode::PreconditionFailed);
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
