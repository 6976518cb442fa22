//! DeleteObject and DeleteObjects.

use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use http::Response;
use serde::Deserialize;

use super::condition::Preconditions;
use super::error::{ErrorCode, Result, S3Error};
use super::object::check_version;
use super::render;
use super::request::ObjectKey;
use super::service::{Bucket, Call, S3, no_content};
use super::xml::{self, XmlWriter};
use crate::iam::Permit;
use crate::store::commit;
use crate::store::schema::ObjectRecord;
use crate::wire::{RequestBody, ResponseBody};

/// Most keys in one DeleteObjects. (AWS: API reference, DeleteObjects.)
const MAX_KEYS: usize = 1000;
/// Longest DeleteObjects document: a thousand keys of 1 024 bytes, each byte perhaps an entity, and their tags.
const MAX_DOCUMENT: usize = 8 << 20;
/// How many deletions of one request run side by side, so that their commits share a sync.
const PARALLEL: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default)]
    quiet: bool,
    #[serde(rename = "Object", default)]
    objects: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    version_id: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
}

impl S3 {
    pub(super) async fn delete_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        if let Some(name) =
            ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"].iter().find(|n| call.header(n).is_some())
        {
            return Err(ErrorCode::NotImplemented.with("Header", *name));
        }
        let etag = call.header("if-match").map(str::to_owned);
        match check_version(key, call.query.value("versionId")) {
            Err(error) if error.code == ErrorCode::NoSuchVersion => return Ok(no_content()),
            other => other?,
        }
        self.delete(bucket, key, etag.as_deref()).await?;
        Ok(no_content())
    }

    pub(super) async fn delete_objects(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let has_digest = call.headers.keys().any(|name| {
            let name = name.as_str();
            name == "content-md5" || name.starts_with("x-amz-checksum-") || name == "x-amz-trailer"
        });
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        if !has_digest {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
            ));
        }
        let request: Delete = xml::read(&document, "Delete")?;
        if request.objects.is_empty() || request.objects.len() > MAX_KEYS {
            return Err(ErrorCode::MalformedXml.into());
        }
        let deletions: Vec<_> =
            request.objects.iter().map(|entry| self.delete_entry(call, bucket, entry).boxed()).collect();
        let results: Vec<Result<()>> = stream::iter(deletions).buffered(PARALLEL).collect().await;
        Ok(render::document(XmlWriter::document("DeleteResult", |xml| {
            for (entry, result) in request.objects.iter().zip(&results) {
                match result {
                    Ok(()) if request.quiet => {}
                    Ok(()) => xml.element("Deleted", |xml| {
                        xml.text("Key", &entry.key);
                        xml.optional("VersionId", entry.version_id.as_deref());
                    }),
                    Err(error) => xml.element("Error", |xml| {
                        xml.text("Key", &entry.key);
                        xml.optional("VersionId", entry.version_id.as_deref());
                        xml.text("Code", error.code.as_str());
                        xml.text("Message", &error.message);
                    }),
                }
            }
        })))
    }

    async fn delete_entry(&self, call: &Call<'_>, bucket: &Bucket, entry: &Entry) -> Result<()> {
        let key = ObjectKey::parse(&entry.key)?;
        self.authorize(call, "s3:DeleteObject", bucket, Some(&key)).await?;
        check_version(&key, entry.version_id.as_deref())?;
        self.delete(bucket, &key, entry.etag.as_deref()).await
    }

    async fn delete(&self, bucket: &Bucket, key: &ObjectKey, if_match: Option<&str>) -> Result<()> {
        let conditions = if_match.map(Preconditions::if_match).unwrap_or_default();
        let admit = |present: Option<&ObjectRecord>| self.judge_present(bucket, key, &conditions, present);
        commit::delete_object(&*self.store, bucket.partition(), key.as_str(), admit).await?;
        Ok(())
    }
}
