//! Versions on the wire: their ids, and what is told of one that is not there or is a delete marker.

use http::header::{HeaderMap, HeaderName};

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::insert;
use super::request::ObjectKey;
use super::service::S3;
use crate::clock::{from_millis, http_date};
use crate::store::commit;
use crate::store::schema::{MarkerRecord, ObjectRecord, Version, VersionId};

/// The header that names a version.
pub(super) const VERSION_ID: &str = "x-amz-version-id";
/// The header that says that a delete marker is spoken of.
pub(super) const DELETE_MARKER: &str = "x-amz-delete-marker";

/// Reads a version's id, which the parameter `name` gives.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn parse(name: &'static str, text: &str) -> Result<VersionId> {
    if text.is_empty() {
        return Err(S3Error::argument(name, "", "Version id cannot be the empty string"));
    }
    text.parse().map_err(|_| S3Error::argument(name, text, "Invalid version id specified"))
}

/// Sets `x-amz-version-id` and its like, where the bucket has versions.
pub(super) fn insert_version(headers: &mut HeaderMap, name: &'static str, bucket: &Bucket, id: VersionId) {
    if bucket.record.versioning.keeps_versions() {
        insert(headers, HeaderName::from_static(name), &id.to_string());
    }
}

/// Why there is no object.
pub(super) enum Missing {
    /// No version is current.
    Key,
    /// A delete marker is current.
    Deleted(MarkerRecord),
    /// No version has this id.
    Version(VersionId),
    /// The version with this id is a delete marker.
    Marker(MarkerRecord),
    /// It could not be told.
    Failed(S3Error),
}

impl Missing {
    /// As a request for an object is answered.
    pub fn tell(self, call: &Call<'_>, key: &ObjectKey) -> S3Error {
        let no_such_key = || ErrorCode::NoSuchKey.with("Key", key.as_str());
        match self {
            Self::Key => no_such_key(),
            Self::Deleted(marker) => with_marker(no_such_key(), &marker),
            Self::Version(id) => ErrorCode::NoSuchVersion.with("Key", key.as_str()).with("VersionId", id.to_string()),
            Self::Marker(marker) => refuse_marker(call, &marker),
            Self::Failed(error) => error,
        }
    }

    /// As an operation is answered that is about what delete markers have none of: tags, retention, and so on.
    pub fn tell_of_part(self, call: &Call<'_>, key: &ObjectKey) -> S3Error {
        match self {
            Self::Deleted(marker) => refuse_marker(call, &marker),
            other => other.tell(call, key),
        }
    }
}

/// `MethodNotAllowed`, of a delete marker.
pub(super) fn refuse_marker(call: &Call<'_>, marker: &MarkerRecord) -> S3Error {
    let error = ErrorCode::MethodNotAllowed
        .with("Method", call.row.method.as_str())
        .with("ResourceType", "DeleteMarker")
        .with_header("allow", "DELETE")
        .with_header("last-modified", http_date(from_millis(marker.modified)));
    with_marker(error, marker)
}

fn with_marker(error: S3Error, marker: &MarkerRecord) -> S3Error {
    let id = Version::Marker(marker.clone()).id();
    error.with_header(DELETE_MARKER, "true").with_header(VERSION_ID, id.to_string())
}

impl S3 {
    /// The record of the version `id` of `key`, or of the current one.
    pub(super) async fn find(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: Option<VersionId>,
    ) -> Result<ObjectRecord, Missing> {
        let (store, partition) = (&*self.store, bucket.partition());
        let failed = |error: crate::store::StoreError| Missing::Failed(error.into());
        let Some(id) = id else {
            if let Some(record) = commit::read_object(store, partition, key.as_str()).await.map_err(failed)? {
                return Ok(record);
            }
            if !bucket.record.versioning.keeps_versions() {
                return Err(Missing::Key);
            }
            let marker = commit::read_marker(store, partition, key.as_str()).await.map_err(failed)?;
            return Err(marker.map_or(Missing::Key, Missing::Deleted));
        };
        match commit::read_version(store, partition, key.as_str(), Some(id)).await.map_err(failed)? {
            Some(Version::Object(record)) => Ok(*record),
            Some(Version::Marker(marker)) => Err(Missing::Marker(marker)),
            None => Err(Missing::Version(id)),
        }
    }
}
