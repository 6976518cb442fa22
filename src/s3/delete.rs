//! DeleteObject and DeleteObjects.

use futures_util::stream;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderName, Response, StatusCode};
use serde::Deserialize;

use super::access::About;
use super::access_log::Aside;
use super::call::{Bucket, Call};
use super::condition::Preconditions;
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{has_digest, insert};
use super::markings::check_bypass;
use super::render;
use super::request::ObjectKey;
use super::service::{S3, no_content};
use super::version::{DELETE_MARKER, VERSION_ID, insert_version};
use super::xml::{self, XmlWriter};
use crate::crypto::random;
use crate::iam::Permit;
use crate::store::commit::{self, Deletion};
use crate::store::schema::{Claim, MarkerRecord, ObjectRecord, Version, VersionId};
use crate::wire::{RequestBody, ResponseBody};

/// Most keys in one DeleteObjects. (AWS: API reference, DeleteObjects.)
const MAX_KEYS: usize = 1000;
/// Longest DeleteObjects document: a thousand keys of 1 024 bytes, each byte perhaps an entity, and their tags.
const MAX_DOCUMENT: usize = 8 << 20;
/// How many deletions of one request run side by side, so that their commits share a sync.
const PARALLEL: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Delete {
    /// Whatever it says that is not `true`, the answer names what was deleted.
    quiet: Option<String>,
    #[serde(rename = "Object", default)]
    objects: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    key: String,
    version_id: Option<String>,
    #[serde(rename = "ETag")]
    etag: Option<String>,
    last_modified_time: Option<String>,
    size: Option<String>,
}

/// Reads what a request is to delete: all of it, or nothing.
fn read(document: &[u8]) -> Result<Delete> {
    let mut request: Delete = xml::read(document, "Delete")?;
    if request.objects.is_empty() || request.objects.len() > MAX_KEYS {
        return Err(ErrorCode::MalformedXml.into());
    }
    if request.objects.iter().any(|entry| entry.key.is_empty()) {
        return Err(ErrorCode::UserKeyMustBeSpecified.into());
    }
    for entry in &mut request.objects {
        // A version of no name is none, as in a query.
        entry.version_id.take_if(|id| id.is_empty());
    }
    Ok(request)
}

/// What is to be deleted.
struct Order<'o> {
    key: &'o ObjectKey,
    /// A version of it, for good.
    version: Option<VersionId>,
    conditions: Preconditions,
    claim: Claim,
}

/// What was.
#[derive(Clone, Copy, Debug, Default)]
struct Deleted {
    /// The version that was deleted, or the delete marker that was made.
    version: Option<VersionId>,
    /// Whether that is a delete marker.
    is_marker: bool,
}

impl S3 {
    pub(super) async fn delete_object(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let conditions = Preconditions::of_delete(&call.headers)?;
        let about = About::named(call, key)?;
        self.authorize_match(call, bucket, about, &conditions).await?;
        let claim = self.claim(call, bucket, about).await?;
        let deleted = self.delete(call, bucket, Order { key, version: about.version, conditions, claim }).await?;
        let mut response = no_content();
        if let Some(id) = deleted.version {
            insert_version(response.headers_mut(), VERSION_ID, bucket, id);
        }
        if deleted.is_marker {
            insert(response.headers_mut(), HeaderName::from_static(DELETE_MARKER), "true");
        }
        Ok(response)
    }

    /// Each deletion is permitted by itself.
    pub(super) async fn delete_objects(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let is_owners = call.identity.as_ref().is_some_and(|caller| caller.account.id == bucket.record.account);
        if !is_owners && bucket.record.policy.is_none() && !bucket.has_acls() {
            // Nothing can let a stranger in: the document need not be read.
            self.authorize(call, call.row.action, bucket, None).await?;
        }
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await?;
        if !has_digest(&call.headers) {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
            ));
        }
        let request = read(&document)?;
        check_bypass(call, bucket)?;
        let quiet = request.quiet.as_deref().is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
        let deletions: Vec<_> =
            request.objects.iter().map(|entry| self.delete_entry(call, bucket, entry).boxed()).collect();
        let results: Vec<Result<Deleted>> = stream::iter(deletions).buffered(PARALLEL).collect().await;
        Ok(render::document(XmlWriter::document("DeleteResult", |xml| {
            for (entry, result) in request.objects.iter().zip(&results) {
                match result {
                    Ok(_) if quiet => {}
                    Ok(deleted) => xml.element("Deleted", |xml| {
                        xml.text("Key", &entry.key);
                        xml.optional("VersionId", entry.version_id.as_deref());
                        if deleted.is_marker {
                            xml.text("DeleteMarker", "true");
                            xml.optional("DeleteMarkerVersionId", deleted.version);
                        }
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

    async fn delete_entry(&self, call: &Call<'_>, bucket: &Bucket, entry: &Entry) -> Result<Deleted> {
        let result = self.try_to_delete(call, bucket, entry).await;
        let result = self.hide_absence(call, bucket, result).await;
        let error = result.as_ref().err().map(|error| error.code);
        call.witness.see_aside(|| Aside {
            operation: "BATCH.DELETE.OBJECT",
            bucket: None,
            key: entry.key.clone(),
            version: entry.version_id.clone(),
            status: error.map_or(StatusCode::NO_CONTENT, ErrorCode::status),
            error,
            size: None,
        });
        result
    }

    async fn try_to_delete(&self, call: &Call<'_>, bucket: &Bucket, entry: &Entry) -> Result<Deleted> {
        let key = ObjectKey::parse(&entry.key)?;
        let action = if entry.version_id.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        let named = entry.version_id.as_deref().map(str::parse::<VersionId>);
        let (etag, modified) = (entry.etag.as_deref(), entry.last_modified_time.as_deref());
        let about = About { key: Some(&key), version: named.and_then(Result::ok), etag, ..About::default() };
        self.authorize_about(call, action, bucket, about).await?;
        let version = named.transpose().map_err(|_| ErrorCode::NoSuchVersion)?;
        let conditions = Preconditions::of_deletion(etag, modified, entry.size.as_deref())?;
        self.authorize_match(call, bucket, about, &conditions).await?;
        let claim = self.claim(call, bucket, about).await?;
        self.delete(call, bucket, Order { key: &key, version, conditions, claim }).await
    }

    /// Whether the caller may have what is there held against an entity tag: it tells of the object's bytes, and so is for those
    /// who may read it. (S3 user guide, "How to perform conditional deletes".)
    async fn authorize_match(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        about: About<'_>,
        conditions: &Preconditions,
    ) -> Result<()> {
        if !conditions.name_a_tag() {
            return Ok(());
        }
        let action = if about.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
        self.authorize_about(call, action, bucket, about).await.map(drop)
    }

    async fn delete(&self, call: &Call<'_>, bucket: &Bucket, order: Order<'_>) -> Result<Deleted> {
        let Order { key, version, conditions, claim } = order;
        let consequences = self.consequences(call, bucket, key.as_str()).await?;
        let judge = |present: Option<&ObjectRecord>| self.judge_present(bucket, key, &conditions, present);
        if let Some(id) = version {
            let (store, partition) = (&*self.store, bucket.partition());
            let admit = |version: &Version, _| judge(version.object());
            let gone = commit::delete_version(store, partition, key.as_str(), id, claim, &consequences, admit).await?;
            if gone.is_none() {
                // What is not there was not judged. It meets no entity tag, as where no version is named.
                judge(None)?;
            }
            let is_marker = matches!(gone, Some(Version::Marker(_)));
            return Ok(Deleted { version, is_marker });
        }
        if let Some(origin) = self.origin(call, bucket, key, "s3:ReplicateDelete").await? {
            let consequences = consequences.of_replica();
            let marker = Version::Marker(origin.marker());
            let place = bucket.place(key, &consequences);
            commit::write_replica(&*self.store, place, marker, None).await.map_err(S3Error::from)?;
            return Ok(Deleted { version: Some(origin.id), is_marker: true });
        }
        let marker = MarkerRecord::new(self.clock.now().as_millisecond(), random::identifier(&*self.entropy));
        Ok(match commit::delete_object(&*self.store, bucket.place(key, &consequences), &marker, judge).await? {
            Deletion::Nothing | Deletion::Removed => Deleted::default(),
            Deletion::Marked(id) => Deleted { version: Some(id), is_marker: true },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_keys_and_nothing_unknown() {
        let code = |contents: &str| {
            let document = format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{contents}</Delete>");
            read(document.as_bytes()).map(|request| request.objects.len()).map_err(|error| error.code)
        };
        let object = "<Object><Key>k</Key></Object>";
        assert_eq!(code(&object.repeat(1000)), Ok(1000));
        assert_eq!(code(&object.repeat(1001)), Err(ErrorCode::MalformedXml));
        assert_eq!(code(&format!("{object}<Quiet>perhaps</Quiet>{object}")), Ok(2));
        assert_eq!(code("<Object><Key>k</Key><VersionId>null</VersionId><ETag>e</ETag></Object>"), Ok(1));
        for bad in ["", "<Quiet>true</Quiet>", "<Object/>", "<Foo/>", "<Object><Key>k</Key><Foo/></Object>"] {
            assert_eq!(code(bad), Err(ErrorCode::MalformedXml), "{bad}");
        }
        assert_eq!(code(&format!("{object}<Foo/>")), Err(ErrorCode::MalformedXml));
        for (named, version) in
            [("<VersionId/>", None), ("<VersionId></VersionId>", None), ("<VersionId>a</VersionId>", Some("a"))]
        {
            let document = format!("<Delete><Object><Key>k</Key>{named}</Object></Delete>");
            let request = read(document.as_bytes()).unwrap();
            assert_eq!(request.objects[0].version_id.as_deref(), version, "{named}");
        }
        for empty in ["<Object><Key></Key></Object>", "<Object><Key/></Object>"] {
            assert_eq!(code(&format!("{object}{empty}")), Err(ErrorCode::UserKeyMustBeSpecified), "{empty}");
        }
    }
}
