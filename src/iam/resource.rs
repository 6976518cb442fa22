//! What a bucket or object contributes to an authorisation decision; used by `policy explain`.

use std::sync::Arc;

use async_trait::async_trait;

use super::Identity;
use crate::policy::{Grant, Policy};
use crate::store::StoreError;

/// What a resource brings to a decision.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The account that it belongs to; `anonymous` of what nobody signed for.
    pub owner: String,
    /// The policy that counts.
    pub policy: Option<Arc<Policy>>,
    /// Whether that policy is another's than the owner's: it can deny then, and not allow.
    pub policy_only_denies: bool,
    /// What the access control list gives to whom is asked about.
    pub acl: Grant,
    /// Whether settings of the bucket keep them out, whatever policies and lists say.
    pub is_barred: bool,
}

/// Who keeps buckets, and judges requests by what they bring.
#[async_trait]
pub trait Buckets: Send + Sync {
    /// What the bucket or object with this ARN brings to a decision on `action` by `identity` (`None`: nobody signed), by the code
    /// that judges requests; `None` if there is no such bucket.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn brought(
        &self,
        identity: Option<&Identity>,
        action: &str,
        arn: &str,
    ) -> Result<Option<Brought>, StoreError>;
}
