//! The condition keys that a bucket's policy may ask for, and of which actions. S3 refuses a policy with others when it is put,
//! so that a slip of the pen does not become a condition that never holds.
//! (IAM user guide, "AWS global condition context keys"; service authorization reference, "Condition keys for Amazon S3".)

use super::actions::{ON_BUCKETS, ON_OBJECTS};
use super::document::{MalformedPolicy, Policy, Statement};

/// The keys of all services. Those that end in `/` have a name after it.
const GLOBAL: &[&str] = &[
    "aws:assumedroot",
    "aws:calledvia",
    "aws:calledviaawsmcp",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:chatbotsourcearn",
    "aws:currenttime",
    "aws:ec2instancesourceprivateipv4",
    "aws:ec2instancesourcevpc",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:ismcpserviceaction",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:signinsessionarn",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsmcpservice",
    "aws:viaawsservice",
    "aws:vpceaccount",
    "aws:vpceorgid",
    "aws:vpceorgpaths",
    "aws:vpcsourceip",
];
/// S3's keys that any action has.
const OF_ALL: &[&str] = &[
    "s3:accessgrantsinstancearn",
    "s3:accesspointnetworkorigin",
    "s3:accesspointtag/",
    "s3:authtype",
    "s3:buckettag/",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:tlsversion",
    "s3:x-amz-content-sha256",
];

const LISTINGS: &[&str] = &["s3:ListBucket", "s3:ListBucketVersions"];
const WRITES: &[&str] = &["s3:BypassGovernanceRetention", "s3:PutObject"];
const REPLICABLE: &[&str] = &["s3:BypassGovernanceRetention", "s3:PutObject", "s3:ReplicateObject"];
const ENCRYPTING: &[&str] =
    &["s3:BypassGovernanceRetention", "s3:PutObject", "s3:ReplicateObject", "s3:UpdateObjectEncryption"];
const STORING: &[&str] = &["s3:BypassGovernanceRetention", "s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectVersionAcl"];
const GRANTING: &[&str] = &[
    "s3:BypassGovernanceRetention",
    "s3:CreateBucket",
    "s3:PutBucketAcl",
    "s3:PutObject",
    "s3:PutObjectAcl",
    "s3:PutObjectVersionAcl",
];
const RETAINING: &[&str] = &["s3:PutObject", "s3:PutObjectRetention"];
const TAGGING: &[&str] =
    &["s3:BypassGovernanceRetention", "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"];
const OF_OBJECTS_TAGS: &[&str] = &[
    "s3:DeleteObjectTagging",
    "s3:DeleteObjectVersionTagging",
    "s3:GetObject",
    "s3:GetObjectAcl",
    "s3:GetObjectAttributes",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionTagging",
    "s3:PutObjectAcl",
    "s3:PutObjectTagging",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
];
const OF_VERSIONS: &[&str] = &[
    "s3:DeleteObjectVersion",
    "s3:DeleteObjectVersionTagging",
    "s3:GetObjectVersion",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionAttributes",
    "s3:GetObjectVersionTagging",
    "s3:GetObjectVersionTorrent",
    "s3:PutObjectVersionAcl",
    "s3:PutObjectVersionTagging",
];

/// S3's keys that some actions have, and those.
const OF_SOME: &[(&[&str], &[&str])] = &[
    (&["s3:delimiter", "s3:max-keys", "s3:prefix"], LISTINGS),
    (&["s3:destinationregion"], &["s3:PauseReplication"]),
    (&["s3:existingobjecttag/"], OF_OBJECTS_TAGS),
    (&["s3:if-match"], &["s3:DeleteObject", "s3:PutObject"]),
    (&["s3:if-none-match", "s3:objectcreationoperation"], &["s3:PutObject"]),
    (&["s3:inventoryaccessibleoptionalfields"], &["s3:PutInventoryConfiguration"]),
    (&["s3:isreplicationpauserequest"], &["s3:PutReplicationConfiguration"]),
    (&["s3:locationconstraint", "s3:x-amz-bucket-namespace", "s3:x-amz-object-ownership"], &["s3:CreateBucket"]),
    (&["s3:object-lock-legal-hold"], &["s3:PutObject", "s3:PutObjectLegalHold"]),
    (
        &["s3:object-lock-mode", "s3:object-lock-remaining-retention-days", "s3:object-lock-retain-until-date"],
        RETAINING,
    ),
    (&["s3:requestobjecttag/", "s3:requestobjecttagkeys"], TAGGING),
    (&["s3:versionid"], OF_VERSIONS),
    (
        &[
            "s3:x-amz-acl",
            "s3:x-amz-grant-full-control",
            "s3:x-amz-grant-read",
            "s3:x-amz-grant-read-acp",
            "s3:x-amz-grant-write",
            "s3:x-amz-grant-write-acp",
        ],
        GRANTING,
    ),
    (&["s3:x-amz-copy-source", "s3:x-amz-metadata-directive", "s3:x-amz-website-redirect-location"], WRITES),
    (&["s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"], ENCRYPTING),
    (&["s3:x-amz-server-side-encryption-customer-algorithm"], REPLICABLE),
    (&["s3:x-amz-storage-class"], STORING),
];

impl Policy {
    /// Judges the conditions of a policy that `bucket` (an ARN) is to have.
    ///
    /// # Errors
    /// [`MalformedPolicy`], for a key that there is not, and for one that no action has which a statement is about.
    pub fn check_conditions(&self, bucket: &str) -> Result<(), MalformedPolicy> {
        self.statements().iter().try_for_each(|statement| statement.check_conditions(bucket))
    }
}

impl Statement {
    fn check_conditions(&self, bucket: &str) -> Result<(), MalformedPolicy> {
        for key in self.condition_keys() {
            let actions = match actions_of(key) {
                Some(Of::All) => continue,
                Some(Of::Some(actions)) => actions,
                None => return Err(MalformedPolicy("Policy has an invalid condition key".to_owned())),
            };
            let (on_bucket, on_objects) = self.reaches(bucket);
            let applies = |action: &&str| {
                (on_bucket && ON_BUCKETS.contains(action)) || (on_objects && ON_OBJECTS.contains(action))
            };
            let having: Vec<&str> = actions.iter().copied().filter(applies).collect();
            if !self.each_action_covers_one_of(&having) {
                let text = "Conditions do not apply to combination of actions and resources in statement";
                return Err(MalformedPolicy(text.to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether policies may ask of `action` which tags the object has. To delete or to replace what is there is no such action.
/// (S3 user guide, "Tagging and access control policies".)
pub fn has_existing_tags(action: &str) -> bool {
    // Whoever asks to bypass what holds a version speaks of that version, and a policy of users may ask for its tags.
    OF_OBJECTS_TAGS.contains(&action) || action == "s3:BypassGovernanceRetention"
}

/// Which actions have a key.
enum Of {
    All,
    Some(&'static [&'static str]),
}

/// The actions that have `key` (in lower case); `None`: there is no such key.
fn actions_of(key: &str) -> Option<Of> {
    let is = |known: &&str| match known.strip_suffix('/') {
        Some(_) => key.len() > known.len() && key.starts_with(*known),
        None => key == *known,
    };
    match key.split_once(':')?.0 {
        "aws" => GLOBAL.iter().any(&is).then_some(Of::All),
        "s3" if OF_ALL.iter().any(&is) => Some(Of::All),
        "s3" => {
            let (_, actions) = OF_SOME.iter().find(|(keys, _)| keys.iter().any(&is))?;
            Some(Of::Some(actions))
        }
        // Those of other services say more of who asks (`saml:aud`), or nothing here.
        _ => Some(Of::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deletes_or_replaces_an_object_has_none_of_its_tags() {
        for action in ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject", "s3:PutObjectRetention"] {
            assert!(!has_existing_tags(action), "{action}");
        }
        for action in ["s3:GetObject", "s3:PutObjectTagging", "s3:BypassGovernanceRetention"] {
            assert!(has_existing_tags(action), "{action}");
        }
    }

    #[test]
    fn keys_are_in_lower_case_and_their_actions_known() {
        let some = OF_SOME.iter().flat_map(|(keys, _)| *keys);
        let all: Vec<&&str> = GLOBAL.iter().chain(OF_ALL).chain(some).collect();
        for (index, key) in all.iter().enumerate() {
            assert_eq!(key.to_lowercase(), **key);
            assert!(!all[..index].contains(key), "{key} stands twice");
        }
        for action in OF_SOME.iter().flat_map(|(_, actions)| *actions) {
            let known = ON_BUCKETS.contains(action) || ON_OBJECTS.contains(action);
            assert!(known, "{action}");
        }
    }
}
