//! The policies that AWS manages and everybody may attach: those of AWS's that speak of what is served here.
//! (AWS: "AWS managed policy reference guide".)

use std::sync::{Arc, LazyLock};

use crate::policy::{Kind, Policy};

/// A policy that AWS manages.
#[derive(Debug)]
pub struct Managed {
    /// Its name.
    pub name: &'static str,
    /// `ANPA...`
    pub id: &'static str,
    /// AWS's words.
    pub description: &'static str,
    /// The document.
    pub document: &'static str,
    /// The path, `/` of nearly all.
    pub path: &'static str,
    policy: Arc<Policy>,
}

macro_rules! managed {
    ($($name:literal $id:literal $path:literal $description:literal $document:expr;)*) => {
        /// All of them, in the order of their names.
        pub static MANAGED: LazyLock<Vec<Managed>> = LazyLock::new(|| vec![$(Managed {
            name: $name,
            id: $id,
            description: $description,
            document: $document,
            path: $path,
            policy: Arc::new(Policy::parse($document, Kind::Identity).expect("a test reads them all")),
        },)*]);
    };
}

managed! {
    "AWSCloudTrail_ReadOnlyAccess" "ANPAZKAPJZG4KXRJZJ4VD" "/" "Provides read only access to AWS CloudTrail."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["cloudtrail:Get*", "cloudtrail:Describe*", "cloudtrail:List*", "cloudtrail:LookupEvents"], "Resource": "*"}]}"#;
    "AWSKeyManagementServicePowerUser" "ANPAJNPP7PPPPMJRV2SA4" "/" "Provides access to AWS Key Management Service (KMS)."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["kms:CreateAlias", "kms:CreateKey", "kms:DeleteAlias", "kms:Describe*", "kms:GenerateRandom", "kms:Get*", "kms:List*", "kms:TagResource", "kms:UntagResource", "iam:ListGroups", "iam:ListRoles", "iam:ListUsers"], "Resource": "*"}]}"#;
    "AdministratorAccess" "ANPAIWMBCKSKIEE64ZLYK" "/" "Provides full access to AWS services and resources."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    "AmazonS3FullAccess" "ANPAIFIR6V6BVTRAHWINE" "/" "Provides full access to all buckets via the AWS Management Console."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "s3-object-lambda:*"], "Resource": "*"}]}"#;
    "AmazonS3ReadOnlyAccess" "ANPAIZTJ4DXE7G6AGAE6M" "/" "Provides read only access to all buckets via the AWS Management Console."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"], "Resource": "*"}]}"#;
    "IAMFullAccess" "ANPAI7XKCFMBPM3QQRRVQ" "/" "Provides full access to IAM via the AWS Management Console."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["iam:*", "organizations:DescribeAccount", "organizations:DescribeOrganization", "organizations:DescribeOrganizationalUnit", "organizations:DescribePolicy", "organizations:ListChildren", "organizations:ListParents", "organizations:ListPoliciesForTarget", "organizations:ListRoots", "organizations:ListPolicies", "organizations:ListTargetsForPolicy"], "Resource": "*"}]}"#;
    "IAMReadOnlyAccess" "ANPAJKSO7NDY4T57MWDSQ" "/" "Provides read only access to IAM via the AWS Management Console."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["iam:GenerateCredentialReport", "iam:GenerateServiceLastAccessedDetails", "iam:Get*", "iam:List*", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy"], "Resource": "*"}]}"#;
    "IAMUserChangePassword" "ANPAJ4L4MM2A7QIEB56MS" "/" "Provides the ability for an IAM user to change their own password."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["iam:ChangePassword"], "Resource": ["arn:aws:iam::*:user/${aws:username}"]}, {"Effect": "Allow", "Action": ["iam:GetAccountPasswordPolicy"], "Resource": "*"}]}"#;
    "PowerUserAccess" "ANPAJYRXTHIB4FOVS3ZXS" "/" "Provides full access to AWS services and resources, but does not allow management of Users and groups."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "NotAction": ["iam:*", "organizations:*", "account:*"], "Resource": "*"}, {"Effect": "Allow", "Action": ["iam:CreateServiceLinkedRole", "iam:DeleteServiceLinkedRole", "iam:ListRoles", "organizations:DescribeOrganization", "account:ListRegions", "account:GetAccountInformation"], "Resource": "*"}]}"#;
    "SecurityAudit" "ANPAIX2T3QCXHR2OGGCTO" "/" "The security audit template grants access to read security configuration metadata."
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["cloudtrail:LookupEvents", "iam:GenerateCredentialReport", "iam:Get*", "iam:List*", "iam:SimulateCustomPolicy", "iam:SimulatePrincipalPolicy", "kms:Describe*", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:List*", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetObjectAcl", "s3:GetReplicationConfiguration", "s3:ListAllMyBuckets"], "Resource": "*"}]}"#;
}

impl Managed {
    /// Its ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::aws:policy{}{}", self.path, self.name)
    }

    /// The policy, compiled.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}

/// The policy with this ARN.
pub fn find(arn: &str) -> Option<&'static Managed> {
    let rest = arn.strip_prefix("arn:aws:iam::aws:policy")?;
    MANAGED.iter().find(|managed| rest.strip_prefix(managed.path) == Some(managed.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_policies_and_found() {
        for managed in MANAGED.iter() {
            assert!(!managed.policy().statements().is_empty(), "{}", managed.name);
            assert_eq!(find(&managed.arn()).unwrap().name, managed.name);
        }
        assert!(find("arn:aws:iam::aws:policy/MadeUp").is_none());
        assert!(MANAGED.is_sorted_by_key(|managed| managed.name));
    }
}
