//! The actions of AWS's services that policies here can allow or deny, from the services' own tables.

use crate::policy::actions;
use crate::{audit, iam, kms};

/// Those that go with an operation of another name.
const BESIDE_OPERATIONS: &[&str] =
    &["iam:PassRole", "kms:ReEncryptFrom", "kms:ReEncryptTo", "sts:SetSourceIdentity", "sts:TagSession"];

/// All of them.
pub(super) fn all() -> Vec<&'static str> {
    let of_keys =
        kms::api::OPERATIONS.iter().map(|operation| operation.action).filter(|action| *action != "kms:ReEncrypt");
    let of_identities = iam::api::OPERATIONS.iter().map(|operation| operation.action);
    let all = actions::s3().chain(of_keys).chain(of_identities).chain([audit::api::LOOK_UP]);
    all.chain(BESIDE_OPERATIONS.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_action_is_there_once() {
        let all = all();
        let distinct: BTreeSet<String> = all.iter().map(|action| action.to_lowercase()).collect();
        assert_eq!(distinct.len(), all.len());
        for action in ["s3:PutObject", "s3:ListAllMyBuckets", "kms:ReEncryptTo", "iam:PassRole", "sts:AssumeRole"] {
            assert!(all.contains(&action), "{action}");
        }
    }
}
