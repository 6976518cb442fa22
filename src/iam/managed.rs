//! The policies that AWS manages and everybody may attach: those of AWS's that speak of what is served here.
//! (AWS: "AWS managed policy reference guide".) Their documents are whole, though most of what the longest allow is not served
//! here.

use std::sync::{Arc, LazyLock};

use crate::policy::{Kind, Policy};

/// A policy that AWS manages.
#[derive(Debug)]
pub struct Managed {
    /// Its name.
    pub name: &'static str,
    /// `ANPA...`: AWS's, where that has come to be known.
    pub id: &'static str,
    /// The path, `/` of nearly all.
    pub path: &'static str,
    /// The number of the version that counts, which is the only one that is kept here.
    pub version: u32,
    /// When AWS made it.
    pub created: &'static str,
    /// When AWS made that version.
    pub updated: &'static str,
    /// AWS's words.
    pub description: &'static str,
    /// The document.
    pub document: &'static str,
    /// The same, compiled when it is first asked for: some are of thousands of actions.
    policy: LazyLock<Arc<Policy>>,
}

macro_rules! managed {
    ($($name:literal $id:literal $path:literal $version:literal $created:literal $updated:literal $description:literal;)*) => {
        const NAMES: &[&str] = &[$($name),*];

        /// All of them, in the order of their names.
        pub static MANAGED: [Managed; NAMES.len()] = [$({
            const DOCUMENT: &str = include_str!(concat!("managed/", $name, ".json"));
            Managed {
                name: $name,
                id: $id,
                path: $path,
                version: $version,
                created: $created,
                updated: $updated,
                description: $description,
                document: DOCUMENT,
                policy: LazyLock::new(|| {
                    Arc::new(Policy::parse(DOCUMENT, Kind::Identity).expect("a test reads them all"))
                }),
            }
        }),*];
    };
}

managed! {
    "AWSCloudTrail_FullAccess" "ANPAZKAPJZG4M6QXTJ2VE" "/" 3 "2020-10-08T23:41:15Z" "2021-02-22T19:01:00Z"
        "Provides full access to AWS CloudTrail.";
    "AWSCloudTrail_ReadOnlyAccess" "ANPAZKAPJZG4KXRJZJ4VD" "/" 1 "2022-06-14T17:19:05Z" "2022-06-14T17:19:05Z"
        "Provides read only access to AWS CloudTrail.";
    "AWSCompromisedKeyQuarantineV3" "ANPAZKAPJZG4NVSX7YQ3L" "/" 3 "2024-08-21T17:36:49Z" "2026-03-16T16:27:14Z"
        "Denies access to certain actions, applied by the AWS team in the event that an IAM user's credentials have been compromised or exposed publicly. Do NOT remove this policy. Instead, please follow the instructions specified in the support case created for you regarding this event.";
    "AWSDenyAll" "ANPAZKAPJZG4P43IUQ5E5" "/" 2 "2019-05-01T22:36:14Z" "2023-12-18T16:42:05Z"
        "Deny all access.";
    "AWSKeyManagementServicePowerUser" "ANPAJNPP7PPPPMJRV2SA4" "/" 2 "2015-02-06T18:40:40Z" "2017-03-07T00:55:11Z"
        "Provides access to AWS Key Management Service (KMS).";
    "AdministratorAccess" "ANPAIWMBCKSKIEE64ZLYK" "/" 1 "2015-02-06T18:39:46Z" "2015-02-06T18:39:46Z"
        "Provides full access to AWS services and resources.";
    "AmazonS3FullAccess" "ANPAIFIR6V6BVTRAHWINE" "/" 2 "2015-02-06T18:40:58Z" "2021-09-27T20:16:37Z"
        "Provides full access to all buckets via the AWS Management Console.";
    "AmazonS3ReadOnlyAccess" "ANPAIZTJ4DXE7G6AGAE6M" "/" 3 "2015-02-06T18:40:59Z" "2023-08-10T21:31:39Z"
        "Provides read only access to all buckets via the AWS Management Console.";
    "IAMAccessAdvisorReadOnly" "ANPAZKAPJZG4GZ7MRUO5K" "/" 1 "2019-06-21T19:33:45Z" "2019-06-21T19:33:45Z"
        "This policy grants access to read all access information provided by IAM access advisor such as service last accessed information.";
    "IAMFullAccess" "ANPAI7XKCFMBPM3QQRRVQ" "/" 2 "2015-02-06T18:40:38Z" "2019-06-21T19:40:00Z"
        "Provides full access to IAM via the AWS Management Console.";
    "IAMReadOnlyAccess" "ANPAJKSO7NDY4T57MWDSQ" "/" 4 "2015-02-06T18:40:39Z" "2018-01-25T19:11:27Z"
        "Provides read only access to IAM via the AWS Management Console.";
    "IAMSelfManageServiceSpecificCredentials" "ANPAI4VT74EMXK2PMQJM2" "/" 1 "2016-12-22T17:25:18Z" "2016-12-22T17:25:18Z"
        "Allows an IAM user to manage their own Service Specific Credentials.";
    "IAMUserChangePassword" "ANPAJ4L4MM2A7QIEB56MS" "/" 5 "2016-11-15T00:25:16Z" "2026-02-12T17:58:57Z"
        "Provides the ability for an IAM user to change their own password.";
    "IAMUserSSHKeys" "ANPAJTSHUA4UXGXU7ANUA" "/" 1 "2015-07-09T17:08:54Z" "2015-07-09T17:08:54Z"
        "Provides the ability for an IAM user to manage their own SSH keys.";
    "PowerUserAccess" "ANPAJYRXTHIB4FOVS3ZXS" "/" 12 "2015-02-06T18:39:47Z" "2026-02-12T17:59:14Z"
        "Provides full access to AWS services and resources, but does not allow management of Users and groups.";
    "ReadOnlyAccess" "ANPAILL3HVNFSB6DCOWYQ" "/" 190 "2015-02-06T18:39:48Z" "2026-09-24T17:37:08Z"
        "Provides read-only access to AWS services and resources.";
    "SecurityAudit" "ANPAIX2T3QCXHR2OGGCTO" "/" 94 "2015-02-06T18:41:01Z" "2026-09-30T20:27:08Z"
        "The security audit template grants access to read security configuration metadata. It is useful for software that audits the configuration of an AWS account.";
    "ViewOnlyAccess" "ANPAID22R6XPJATWOFDK6" "/job-function/" 46 "2016-11-10T17:20:15Z" "2026-09-30T20:27:08Z"
        "This policy grants permissions to view resources and basic metadata across all AWS services.";
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
        for managed in &MANAGED {
            assert!(!managed.policy().statements().is_empty(), "{}", managed.name);
            assert_eq!(find(&managed.arn()).unwrap().name, managed.name);
        }
        assert!(find("arn:aws:iam::aws:policy/MadeUp").is_none());
        assert!(find("arn:aws:iam::aws:policy/ViewOnlyAccess").is_none(), "it has a path");
        assert!(find("arn:aws:iam::aws:policy/job-function/ViewOnlyAccess").is_some());
        assert!(MANAGED.is_sorted_by_key(|managed| managed.name));
    }
}
