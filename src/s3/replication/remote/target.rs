//! One object at another server: the requests that are made about it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use reqwest::Body;
use serde::Deserialize;

use super::layout::{Layout, Piece, is_in_parts};
use super::{Errand, Ledger, Remote, RemoteError, encode};
use crate::clock::SharedClock;
use crate::s3::replication::UNVERSIONED;
use crate::s3::replication::reason::Reason;
use crate::s3::service::S3;
use crate::s3::version::VERSION_ID;
use crate::s3::xml;
use crate::sigv4::{Service, Signer, UNSIGNED_PAYLOAD};
use crate::sse;
use crate::store::outbox::ReplicationProgress;
use crate::wire::error::chain;

/// How often a part is tried before the whole attempt has failed.
const PART_TRIES: usize = 3;
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// How large the object is that the parts are to come to.
const OBJECT_SIZE: &str = "x-amz-mp-object-size";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiated {
    upload_id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDocument {
    code: String,
    #[serde(default)]
    message: String,
}

/// One object at another server.
pub(super) struct Target<'t> {
    pub remote: &'t Remote,
    pub clock: &'t SharedClock,
    pub path: String,
}

/// What another server answered.
pub(super) struct Answer {
    etag: Option<String>,
    pub version: Option<String>,
    body: Bytes,
}

impl Target<'_> {
    /// Sends an object in parts, and goes on with the upload that an earlier attempt had begun, where that can be done.
    pub async fn upload(
        &self,
        s3: &S3,
        errand: &Errand<'_>,
        source_key: &sse::ObjectKey,
        said: (&[(String, String)], bool),
        ledger: &Ledger<'_>,
    ) -> Result<Option<String>, RemoteError> {
        let mut begun = ledger.progress();
        if let Some(ReplicationProgress { upload, part: None, as_source: false, .. }) = &begun {
            // Which bytes the next part would begin with is not known.
            self.try_abort(upload).await;
            begun = None;
        }
        let Some(progress) = begun else { return self.upload_from(s3, errand, source_key, said, None, ledger).await };
        let upload = progress.upload.clone();
        match self.upload_from(s3, errand, source_key, said, Some(progress), ledger).await {
            // What an earlier attempt had begun is gone, or is not what it was: another is begun.
            Err(error) if ["NoSuchUpload", "InvalidPart", "InvalidPartOrder"].iter().any(|code| error.is(code)) => {
                self.try_abort(&upload).await;
                self.upload_from(s3, errand, source_key, said, None, ledger).await
            }
            ended => ended,
        }
    }

    async fn upload_from(
        &self,
        s3: &S3,
        errand: &Errand<'_>,
        source_key: &sse::ObjectKey,
        (headers, must_bring_digest): (&[(String, String)], bool),
        begun: Option<ReplicationProgress>,
        ledger: &Ledger<'_>,
    ) -> Result<Option<String>, RemoteError> {
        let record = &errand.object.record;
        // What was begun in parts of one size is gone on with so.
        let as_source = begun.as_ref().map_or_else(|| is_in_parts(record), |begun| begun.as_source);
        let part = match &begun {
            Some(begun) => begun.part.unwrap_or(self.remote.part).max(1),
            None => Layout::part_size(record.size, self.remote.part),
        };
        let layout = if as_source {
            Layout::of_source(s3, errand, source_key).await?
        } else {
            Layout::of_size(record.size, part)
        };
        let mut progress = if let Some(progress) = begun {
            progress
        } else {
            let step = Reason::DstMultipartInitNotPermitted;
            let headers = [headers, layout.announced().as_slice()].concat();
            let answer = self.send(step, Method::POST, "uploads=", &headers, Body::default(), 0).await?;
            let Initiated { upload_id } = xml::read(&answer.body, "InitiateMultipartUploadResult")?;
            let part = (!as_source).then_some(part);
            let progress = ReplicationProgress { upload: upload_id, parts: Vec::new(), part, as_source };
            ledger.keep(progress.clone()).await?;
            progress
        };
        let upload = encode(&progress.upload);
        for Piece { number, range, checksum } in &layout.pieces[progress.parts.len().min(layout.pieces.len())..] {
            let query = format!("partNumber={number}&uploadId={upload}");
            let mut of_part = Vec::new();
            if let Some(checksum) = checksum {
                of_part.push((checksum.algorithm().header().to_owned(), checksum.to_string()));
            } else if must_bring_digest {
                of_part.push(self.remote.digest(s3, errand, source_key, range.clone()).await?);
            }
            let mut tries = 1;
            let etag = loop {
                let body = self.remote.body(s3, errand, source_key, range.clone()).await?;
                let step = Reason::DstMultipartUploadNotPermitted;
                match self.send(step, Method::PUT, &query, &of_part, body, range.end - range.start).await {
                    Ok(answer) => break answer.etag.unwrap_or_default(),
                    Err(error) if error.is_lasting() || error.is("NoSuchUpload") || tries >= PART_TRIES => {
                        return Err(error);
                    }
                    Err(_) => tries += 1,
                }
            };
            progress.parts.push(etag);
            ledger.keep(progress.clone()).await?;
        }
        let document = layout.document(&progress.parts);
        let (query, length) = (format!("uploadId={upload}"), document.len() as u64);
        let mut whole = layout.concluded();
        whole.push((OBJECT_SIZE.to_owned(), record.size.to_string()));
        let step = Reason::DstMultipartCompleteNotPermitted;
        let answer = self.send(step, Method::POST, &query, &whole, Body::from(document), length).await?;
        // S3 may find out that it cannot only after it has begun to answer 200.
        match xml::read::<ErrorDocument>(&answer.body, "Error") {
            Ok(ErrorDocument { code, .. }) => {
                Err(RemoteError::Refused { status: StatusCode::INTERNAL_SERVER_ERROR, code, step })
            }
            Err(_) => Ok(answer.version),
        }
    }

    /// Ends an upload, so that its parts do not lie there for ever. That it fails holds up nothing.
    pub async fn try_abort(&self, upload: &str) {
        let (step, query) = (Reason::DstMultipartUploadNotPermitted, format!("uploadId={}", encode(upload)));
        match self.send(step, Method::DELETE, &query, &[], Body::default(), 0).await {
            Err(error) if !error.is("NoSuchUpload") => {
                tracing::warn!(path = self.path, %error, "an upload of a replica that is given up could not be aborted");
            }
            _ => {}
        }
    }

    /// Sends a signed request, and reads its answer. `step`: what it is that failed, if it is refused.
    pub async fn send(
        &self,
        step: Reason,
        method: Method,
        query: &str,
        headers: &[(String, String)],
        body: Body,
        length: u64,
    ) -> Result<Answer, RemoteError> {
        let remote = self.remote;
        let separator = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}{}{separator}{query}", remote.endpoint, self.path);
        let unreachable = |error: &dyn std::fmt::Display| RemoteError::Unreachable(error.to_string());
        let mut request = Request::builder().method(method).uri(uri).body(body).map_err(|error| unreachable(&error))?;
        for (name, value) in headers {
            let (name, value) = header(name, value)?;
            request.headers_mut().insert(name, value);
        }
        request.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        let signer = Signer {
            access_key_id: &remote.access_key_id,
            secret: remote.secret.expose(),
            session_token: None,
            region: &remote.region,
            service: Service::S3,
        };
        signer.sign(&mut request, UNSIGNED_PAYLOAD, self.clock.now()).map_err(|error| unreachable(&error))?;
        let request = reqwest::Request::try_from(request).map_err(|error| unreachable(&error))?;
        let response =
            remote.client.execute(request).await.map_err(|error| unreachable(&chain(&error.without_url())))?;
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, version) = (header(http::header::ETAG.as_str()), header(VERSION_ID));
        let body = read_answer(response).await?;
        if status.is_success() {
            return Ok(Answer { etag, version, body });
        }
        let ErrorDocument { code, message } = xml::read(&body, "Error").unwrap_or_default();
        // What another Strongroom tells of a bucket that cannot hold a replica.
        let step = if message == UNVERSIONED { Reason::DstBucketUnversioned } else { step };
        Err(RemoteError::Refused { status, code, step })
    }
}

/// A header, if requests can carry it: a replica without it would not be what its source is.
pub(super) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), RemoteError> {
    let unsendable = || RemoteError::UnsendableHeader(name.to_owned());
    let field = HeaderName::try_from(name).map_err(|_| unsendable())?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unsendable())?;
    Ok((field, value))
}

async fn read_answer(mut response: reqwest::Response) -> Result<Bytes, RemoteError> {
    let mut body = bytes::BytesMut::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| RemoteError::Unreachable(chain(&error.without_url())))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(RemoteError::Unreachable("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
