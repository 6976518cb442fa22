//! GetBucketVersioning and PutBucketVersioning.

use http::{Response, StatusCode};
use serde::Deserialize;

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::service::{S3, no_such_bucket};
use super::xml::{self, XmlWriter};
use crate::iam::Permit;
use crate::store::commit::{self, WriteError};
use crate::store::schema::{BucketRecord, Versioning};
use crate::wire::{RequestBody, ResponseBody};

/// Longest configuration, in bytes.
const MAX_CONFIGURATION: usize = 16 * 1024;
const ROOT: &str = "VersioningConfiguration";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    status: Option<String>,
    mfa_delete: Option<String>,
}

/// The state that a configuration asks for.
fn parse(document: &[u8]) -> Result<Versioning> {
    let Configuration { status, mfa_delete } = xml::read(document, ROOT)?;
    match mfa_delete.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled") => {
            let text = "MFA delete is not implemented by this server: it knows no MFA devices.";
            return Err(S3Error::new(ErrorCode::NotImplemented, text));
        }
        Some(_) => return Err(ErrorCode::MalformedXml.into()),
    }
    match status.as_deref() {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(_) => Err(ErrorCode::MalformedXml.into()),
        None => {
            Err(S3Error::new(ErrorCode::IllegalVersioningConfiguration, "The Versioning element must be specified"))
        }
    }
}

impl S3 {
    pub(super) fn bucket_versioning(bucket: &Bucket, _permit: Permit) -> Response<ResponseBody> {
        let status = match bucket.record.versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some("Enabled"),
            Versioning::Suspended => Some("Suspended"),
        };
        render::document(XmlWriter::document(ROOT, |xml| xml.optional("Status", status)))
    }

    pub(super) async fn put_bucket_versioning(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_CONFIGURATION).await?;
        let wanted = parse(&document)?;
        if wanted != Versioning::Enabled && self.replication_of(bucket).await?.is_some() {
            return Err(S3Error::new(
                ErrorCode::InvalidBucketState,
                "A replication configuration is present on this bucket, so you cannot change the versioning state. To change the \
                 versioning state, first delete the replication configuration.",
            ));
        }
        self.configure_bucket(bucket, |record| {
            if record.object_lock.is_some() && wanted != Versioning::Enabled {
                return Err(S3Error::new(
                    ErrorCode::InvalidBucketState,
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
                ));
            }
            record.versioning = wanted;
            Ok(())
        })
        .await?;
        Ok(render::empty(StatusCode::OK))
    }

    /// Changes the bucket's record, if `change` agrees with what it is then.
    ///
    /// # Errors
    /// `change`'s; `NoSuchBucket`; `OperationAborted` if the bucket is being deleted.
    pub(super) async fn configure_bucket(
        &self,
        bucket: &Bucket,
        change: impl Fn(&mut BucketRecord) -> Result<()>,
    ) -> Result<()> {
        let id = bucket.record.id;
        let changed = commit::configure_bucket(&*self.store, &bucket.name, |record| {
            // A bucket of the same name made meanwhile is another.
            if record.id == id { change(record) } else { Err(no_such_bucket(&bucket.name)) }
        });
        match changed.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(no_such_bucket(&bucket.name)),
            Err(WriteError::NoBucket) => Err(ErrorCode::OperationAborted.into()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let code = |inner: &str| parse(format!("<{ROOT}>{inner}</{ROOT}>").as_bytes()).map_err(|error| error.code);
        assert_eq!(code("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(code("<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>"), Ok(Versioning::Suspended));
        assert_eq!(code(""), Err(ErrorCode::IllegalVersioningConfiguration));
        assert_eq!(code("<Status>enabled</Status>"), Err(ErrorCode::MalformedXml));
        assert_eq!(code("<MfaDelete>Enabled</MfaDelete><Status>Enabled</Status>"), Err(ErrorCode::NotImplemented));
        assert_eq!(code("<MfaDelete>x</MfaDelete><Status>Enabled</Status>"), Err(ErrorCode::MalformedXml));
    }
}
