//! The role that replication acts by: who may name it, and what is asked of it. Nothing is replicated that the role may not read
//! at the source and write at the destination.
//! (S3 user guide, "Setting up permissions for live replication"; "Grant a user permissions to pass a role to an AWS service".)
//!
//! | asked of | for | what |
//! |---|---|---|
//! | whoever puts the configuration | the role | `iam:PassRole` |
//! | the role's trust policy | `s3.amazonaws.com` | `sts:AssumeRole` |
//! | the role, at the source | all | `s3:GetReplicationConfiguration` |
//! | | objects | `s3:GetObjectVersionForReplication`, `s3:GetObjectVersionAcl`; of locked ones `s3:GetObjectRetention`, `s3:GetObjectLegalHold` |
//! | | tags, which stay behind without it | `s3:GetObjectVersionTagging` |
//! | | delete markers | `s3:ListBucket` |
//! | | later changes | `s3:GetObjectVersionForReplication`; of what was changed `s3:GetObjectVersionTagging`, `s3:GetObjectVersionAcl`, `s3:GetObjectRetention`, `s3:GetObjectLegalHold` |
//! | the role, at the destination | objects, tags, delete markers | `s3:ReplicateObject`, `s3:ReplicateTags`, `s3:ReplicateDelete` |
//! | | later changes of tags | `s3:ReplicateTags` |
//! | | of lists and locks | `s3:ReplicateObject`; to weaken a retention in governance mode `s3:BypassGovernanceRetention` |
//! | | another owner | `s3:ObjectOwnerOverrideToBucketOwner` |

use http::HeaderMap;

use super::super::access::About;
use super::super::call::{AuditNotes, Bucket, Call};
use super::super::error::{ErrorCode, Result, S3Error};
use super::super::operation::Operation;
use super::super::request::{ObjectKey, Query};
use super::super::service::S3;
use super::Failure;
use super::reason::Reason;
use crate::clock::iso8601;
use crate::iam::{Question, ServiceRole};
use crate::policy::{Context, Found};
use crate::store::schema::{Facet, ObjectRecord};
use crate::wire::RequestContext;

/// Who acts by the role, and the name of its session.
const SERVICE: &str = "s3.amazonaws.com";
const SESSION: &str = "s3-replication";

/// What conditions may ask of the passing of a role, beside what they may ask of the request.
struct Passing<'p> {
    account: &'p str,
    /// Without tags, of a role that is not there.
    tags: &'p [(String, String)],
    bucket: &'p str,
    request: &'p dyn Context,
}

impl Context for Passing<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        match key {
            "iam:passedtoservice" => Found::of(Some(SERVICE)),
            "iam:associatedresourcearn" => Found::of(Some(self.bucket)),
            "aws:resourceaccount" => Found::of(Some(self.account)),
            _ => match key.strip_prefix("iam:resourcetag/").or_else(|| key.strip_prefix("aws:resourcetag/")) {
                Some(name) => Found::of_tag(self.tags, name),
                None => self.request.find(key),
            },
        }
    }
}

/// What a trust policy may ask of the service that assumes the role.
struct Assuming<'a>(&'a [(&'a str, &'a str)]);

impl Context for Assuming<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        self.0.find(key)
    }
}

impl S3 {
    /// Whether the caller may have the bucket's objects replicated by the role.
    ///
    /// # Errors
    /// `AccessDenied`, if it may not pass the role, or the role is another account's; `InvalidArgument`, if there is none.
    pub(super) fn authorize_passing(&self, call: &Call<'_>, bucket: &Bucket, role_arn: &str) -> Result<()> {
        let account = role_arn.split(':').nth(4).unwrap_or_default();
        if account != call.identity()?.account.id || account != bucket.record.account {
            return Err(S3Error::new(ErrorCode::AccessDenied, "Cross-account pass role is not allowed."));
        }
        let question = Question::new(call.identity.as_ref(), "iam:PassRole", role_arn, Some(account));
        let (arn, request) = (bucket.arn(), self.circumstances(call, bucket));
        let role = self.directory.service_role(role_arn);
        let tags = role.as_ref().map(ServiceRole::tags).unwrap_or_default();
        let passing = Passing { account, tags, bucket: &arn, request: &request };
        Self::ask(call, &Question { context: &passing, ..question })?;
        // Whether there is such a role is told to those alone who might pass it.
        let missing = || S3Error::argument("Role", role_arn, "Invalid Role specified in replication configuration");
        role.map(drop).ok_or_else(missing)
    }

    /// A request that a session of the role makes of this server.
    ///
    /// # Errors
    /// `AccessDenied`, if there is no such role in the account of the bucket's owner, or it does not trust S3.
    pub(super) fn call_of_role<'c>(
        &self,
        cx: &'c RequestContext,
        bucket: &Bucket,
        role_arn: &str,
        operation: Operation,
        witness: &'c AuditNotes,
    ) -> Result<Call<'c>, Failure> {
        let denied = |text: String| {
            let error = S3Error::new(ErrorCode::AccessDenied, text);
            Failure::of(&error, Reason::AssumeRoleNotPermitted)
        };
        let role = self.directory.service_role(role_arn).filter(|role| role.account() == bucket.record.account);
        let missing = || denied(format!("There is no role {role_arn}."));
        let role = role.ok_or_else(missing)?;
        let (now, arn) = (self.clock.now(), bucket.arn());
        let (time, seconds) = (iso8601(now), now.as_second().to_string());
        let assuming = Assuming(&[
            ("aws:currenttime", time.as_str()),
            ("aws:epochtime", seconds.as_str()),
            ("aws:principalisawsservice", "true"),
            ("aws:principalservicename", SERVICE),
            ("aws:requestedregion", self.settings.region.as_str()),
            ("aws:securetransport", "true"),
            ("aws:sourceaccount", bucket.record.account.as_str()),
            ("aws:sourcearn", arn.as_str()),
            ("sts:rolesessionname", SESSION),
        ]);
        let untrusting = || denied(format!("{SERVICE} may not assume the role {role_arn}."));
        let identity = role.assumed(&self.directory, SERVICE, SESSION, &assuming).ok_or_else(untrusting)?;
        let (row, query, headers) = (operation.row(), Query::parse("")?, HeaderMap::new());
        let identity = Some(identity);
        Ok(Call { identity, replicates: true, ..Call::anonymous(cx, row, query, headers, witness) })
    }

    /// Refuses an object that the role may not read; its tags, if the role may read those.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn authorize_source(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
    ) -> Result<Vec<(String, String)>, Failure> {
        self.authorize_configuration(call, bucket).await?;
        let about = About { key: Some(key), version: Some(record.version_id()), ..About::default() };
        let needed = [
            ("s3:GetObjectVersionForReplication", true, Reason::SrcGetObjectNotPermitted),
            ("s3:GetObjectVersionAcl", true, Reason::SrcGetAclNotPermitted),
            ("s3:GetObjectRetention", record.retention.is_some(), Reason::SrcGetRetentionNotPermitted),
            ("s3:GetObjectLegalHold", record.legal_hold.is_some(), Reason::SrcGetLegalHoldNotPermitted),
        ];
        for (action, _, refused) in needed.into_iter().filter(|(_, needed, _)| *needed) {
            let allowed = self.authorize_about(call, action, bucket, about).await;
            allowed.map_err(|error| Failure::of(&error, refused))?;
        }
        if record.tags.is_empty() || !self.role_may(call, "s3:GetObjectVersionTagging", bucket, about).await? {
            return Ok(Vec::new());
        }
        Ok(record.tags.clone())
    }

    /// Refuses a change that the role may not read.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn authorize_source_of_change(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        (record, facet): (&ObjectRecord, Facet),
    ) -> Result<(), Failure> {
        self.authorize_configuration(call, bucket).await?;
        let about = About { key: Some(key), version: Some(record.version_id()), ..About::default() };
        let allowed = self.authorize_about(call, "s3:GetObjectVersionForReplication", bucket, about).await;
        allowed.map_err(|error| Failure::of_source(&error))?;
        let action = match facet {
            Facet::Tags => "s3:GetObjectVersionTagging",
            Facet::Acl => "s3:GetObjectVersionAcl",
            Facet::Retention => "s3:GetObjectRetention",
            Facet::LegalHold => "s3:GetObjectLegalHold",
        };
        let allowed = self.authorize_about(call, action, bucket, about).await;
        allowed.map(drop).map_err(|error| Failure::of(&error, Reason::of_changed(facet)))
    }

    /// Refuses a delete marker that the role may not see.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn authorize_source_of_marker(&self, call: &Call<'_>, bucket: &Bucket) -> Result<(), Failure> {
        self.authorize_configuration(call, bucket).await?;
        self.authorize(call, "s3:ListBucket", bucket, None).await.map(drop).map_err(|error| Failure::of_source(&error))
    }

    /// Refuses a configuration that the role may not read.
    async fn authorize_configuration(&self, call: &Call<'_>, bucket: &Bucket) -> Result<(), Failure> {
        let allowed = self.authorize(call, "s3:GetReplicationConfiguration", bucket, None).await;
        allowed.map(drop).map_err(|error| Failure::of_source(&error))
    }

    /// Whether the role may do what replication goes on without.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn role_may(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        about: About<'_>,
    ) -> Result<bool> {
        match self.authorize_about(call, action, bucket, about).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == ErrorCode::AccessDenied => Ok(false),
            Err(error) => Err(error),
        }
    }
}
