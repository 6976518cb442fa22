//! What S3 itself writes into a bucket, as one of its services, once the bucket has let the service: access logs, and inventory
//! reports.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use super::acl::ObjectAccess;
use super::call::Bucket;
use super::checksum::Algorithm;
use super::condition::Preconditions;
use super::consequences::Cause;
use super::error::{Result, S3Error};
use super::headers::STANDARD_CLASS;
use super::markings::Markings;
use super::payload::PayloadPlan;
use super::put::NewObject;
use super::request::ObjectKey;
use super::service::S3;
use crate::events::EventName;
use crate::iam::Permit;
use crate::kms::Caller;
use crate::sse::{ObjectName, Plan};
use crate::store::schema::Attributes;

/// How a service writes.
pub(super) struct ServiceWrite<'w> {
    /// The service's name.
    pub service: &'w str,
    pub content_type: &'w str,
    pub plan: &'w Plan,
    /// In whose name the KMS is asked.
    pub caller: &'w Caller,
    pub access: ObjectAccess,
}

impl S3 {
    /// Writes `bytes` as an object.
    pub(super) async fn write_as_service(
        &self,
        (bucket, key): (&Bucket, &ObjectKey),
        _permit: Permit,
        write: ServiceWrite<'_>,
        bytes: Bytes,
    ) -> Result<()> {
        let ServiceWrite { service, content_type, plan, caller, access } = write;
        let name = ObjectName { bucket: &bucket.name, key: key.as_str() };
        let (envelope, object_key) = self.sse.begin(plan, caller, name).await?;
        let required = self.data_requirements(envelope.shows_md5(), Algorithm::Crc64Nvme);
        let length = u64::try_from(bytes.len()).map_err(S3Error::internal)?;
        let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
        let (sealed, verified) = self.receive(PayloadPlan::internal(length, &required), body, &object_key, 0).await?;
        let attributes = Attributes {
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            metadata: Vec::new(),
            storage_class: STANDARD_CLASS.to_owned(),
        };
        let deleted = (EventName::ObjectRemovedDelete, EventName::ObjectRemovedDeleteMarkerCreated);
        let consequences = self.consequences_of(Cause::of_service(service, deleted), bucket, key.as_str()).await?;
        let new = NewObject {
            attributes,
            // The bucket may have got Object Lock after it was chosen.
            markings: Markings { retention: self.retention_of_upload(bucket, None).await?, ..Markings::default() },
            access,
            envelope: &envelope,
            object_key: &object_key,
            sealed,
            verified: &verified,
            consequences: &consequences,
            origin: None,
        };
        self.store_object(bucket, key, new, &Preconditions::default()).await?;
        Ok(())
    }
}
