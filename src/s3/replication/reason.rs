//! Why a replication failed, as events tell it: AWS's closed list. (S3 user guide, "Amazon S3 replication failure reasons".)

use super::super::error::{ErrorCode, S3Error};
use crate::store::outbox::ReplicationAction;
use crate::store::schema::Facet;

macro_rules! reasons {
    ($($name:ident,)*) => {
        /// A failure reason. A closed set: those of AWS's that can occur here.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Reason { $($name,)* }

        impl Reason {
            /// As events have it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    AssumeRoleNotPermitted,
    DstBucketNotFound,
    DstBucketObjectLockConfigMissing,
    DstBucketUnversioned,
    DstDelObjNotPermitted,
    DstKmsKeyInvalidState,
    DstKmsKeyNotFound,
    DstMultipartCompleteNotPermitted,
    DstMultipartInitNotPermitted,
    DstMultipartUploadNotPermitted,
    DstPutAclNotPermitted,
    DstPutLegalHoldNotPermitted,
    DstPutObjectNotPermitted,
    DstPutRetentionNotPermitted,
    DstPutTaggingNotPermitted,
    DstVersionNotFound,
    SrcBucketReplicationConfigMissing,
    SrcGetAclNotPermitted,
    SrcGetLegalHoldNotPermitted,
    SrcGetObjectNotPermitted,
    SrcGetRetentionNotPermitted,
    SrcGetTaggingNotPermitted,
    SrcKmsKeyInvalidState,
    SrcObjectNotEligible,
    SrcVersionNotFound,
}

impl Reason {
    /// That a change was not made at the destination.
    pub const fn of_change(facet: Facet) -> Self {
        match facet {
            Facet::Tags => Self::DstPutTaggingNotPermitted,
            Facet::Acl => Self::DstPutAclNotPermitted,
            Facet::Retention => Self::DstPutRetentionNotPermitted,
            Facet::LegalHold => Self::DstPutLegalHoldNotPermitted,
        }
    }

    /// That a change could not be read at the source.
    pub const fn of_changed(facet: Facet) -> Self {
        match facet {
            Facet::Tags => Self::SrcGetTaggingNotPermitted,
            Facet::Acl => Self::SrcGetAclNotPermitted,
            Facet::Retention => Self::SrcGetRetentionNotPermitted,
            Facet::LegalHold => Self::SrcGetLegalHoldNotPermitted,
        }
    }

    /// That something was not done at the destination, of which nothing more is known.
    pub const fn of_action(action: ReplicationAction, facet: Option<Facet>) -> Self {
        match (action, facet) {
            (ReplicationAction::DeleteMarker, _) => Self::DstDelObjNotPermitted,
            (ReplicationAction::Change, Some(facet)) => Self::of_change(facet),
            (ReplicationAction::Put | ReplicationAction::Existing | ReplicationAction::Change, _) => {
                Self::DstPutObjectNotPermitted
            }
        }
    }

    /// What the destination's answer `code` says; `step`, if it says nothing more than that this was refused.
    pub fn of_answer(code: &str, step: Self) -> Self {
        match code {
            "NoSuchBucket" => Self::DstBucketNotFound,
            "NoSuchKey" | "NoSuchVersion" => Self::DstVersionNotFound,
            "KMS.NotFoundException" => Self::DstKmsKeyNotFound,
            code if code.starts_with("KMS.") => Self::DstKmsKeyInvalidState,
            // "Bucket is missing Object Lock Configuration"
            "InvalidRequest"
                if matches!(step, Self::DstPutLegalHoldNotPermitted | Self::DstPutRetentionNotPermitted) =>
            {
                Self::DstBucketObjectLockConfigMissing
            }
            _ => step,
        }
    }

    /// What an error of reading or opening the source says.
    pub fn of_source(error: &S3Error) -> Self {
        match error.code {
            ErrorCode::KmsDisabled
            | ErrorCode::KmsInvalidKeyUsage
            | ErrorCode::KmsInvalidState
            | ErrorCode::KmsNotFound => Self::SrcKmsKeyInvalidState,
            // Only its owner has the key.
            ErrorCode::InvalidRequest => Self::SrcObjectNotEligible,
            _ => Self::SrcGetObjectNotPermitted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_awss_names() {
        let step = Reason::DstMultipartInitNotPermitted;
        let of = |code: &str| Reason::of_answer(code, step).as_str();
        assert_eq!(of("NoSuchBucket"), "DstBucketNotFound");
        assert_eq!(of("NoSuchVersion"), "DstVersionNotFound");
        assert_eq!(of("KMS.NotFoundException"), "DstKmsKeyNotFound");
        assert_eq!(of("KMS.DisabledException"), "DstKmsKeyInvalidState");
        assert_eq!(of("AccessDenied"), "DstMultipartInitNotPermitted");
        assert_eq!(of("InvalidRequest"), "DstMultipartInitNotPermitted");
        let held = Reason::of_answer("InvalidRequest", Reason::of_change(Facet::LegalHold));
        assert_eq!(held.as_str(), "DstBucketObjectLockConfigMissing");
        let marker = Reason::of_action(ReplicationAction::DeleteMarker, None);
        assert_eq!(marker.as_str(), "DstDelObjNotPermitted");
        let tags = Reason::of_action(ReplicationAction::Change, Some(Facet::Tags));
        assert_eq!(tags, Reason::DstPutTaggingNotPermitted);
        let opened = |code: ErrorCode| Reason::of_source(&code.into());
        assert_eq!(opened(ErrorCode::KmsDisabled), Reason::SrcKmsKeyInvalidState);
        assert_eq!(opened(ErrorCode::AccessDenied), Reason::SrcGetObjectNotPermitted);
    }
}
