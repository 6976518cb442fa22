//! The circumstances of a use of a key, as the conditions of policies ask for them. (Service authorization reference,
//! "Condition keys for AWS KMS"; IAM user guide, "AWS global condition context keys".)
//!
//! What the caller, the key, its tags and aliases, the encryption context and the clock say is found here; what the request
//! says by its own members comes with the caller ([`crate::kms::ConditionValues`]).

use std::borrow::Cow;

use super::LocalKms;
use super::keyring::Key;
use super::policy::KeyUse;
use crate::clock::iso8601;
use crate::kms::{Caller, EncryptionContext};
use crate::policy::{Context, Found};

/// The circumstances of `key_use`, done by `caller` to `key`, if there is one yet.
#[derive(Clone, Copy)]
pub(super) struct Circumstances<'r> {
    pub kms: &'r LocalKms,
    pub caller: &'r Caller,
    pub key: Option<&'r Key>,
    pub key_use: KeyUse<'r>,
}

impl Context for Circumstances<'_> {
    fn find(&self, key: &str) -> Found<'_> {
        let found = match key.split_once(':') {
            Some(("aws", name)) => self.global(name),
            Some(("kms", name)) => self.of_key(name),
            _ => Found::None,
        };
        let found = match (found, &self.caller.conditions) {
            (Found::None, Some(values)) => values.find(self.key_use.action, key),
            (found, _) => found,
        };
        match found {
            Found::None => self.caller.subject.find(key),
            found => found,
        }
    }
}

impl Circumstances<'_> {
    fn global(&self, name: &str) -> Found<'_> {
        let caller = self.caller;
        let via = caller.via_service.as_deref();
        match name {
            "currenttime" => Found::of(Some(iso8601(self.kms.clock.now()))),
            "epochtime" => Found::of(Some(self.kms.clock.now().as_second().to_string())),
            "requestedregion" => Found::of(Some(self.kms.region.as_str())),
            "resourceaccount" => Found::of(self.key.map(|key| key.record.account.as_str())),
            "viaawsservice" => Found::of(Some(truth(via.is_some()))),
            "calledvia" => via.map_or(Found::None, |via| Found::Many(vec![service(via)])),
            "calledviafirst" | "calledvialast" => Found::of(via.map(service)),
            // A service speaks TLS; where the client stood is not the service's to say.
            "securetransport" => Found::of(via.map(|_| "true")),
            _ => match (name.strip_prefix("resourcetag/"), self.key) {
                (Some(tag), Some(key)) => Found::of_tag(&key.record.tags, tag),
                _ => Found::None,
            },
        }
    }

    fn of_key(&self, name: &str) -> Found<'_> {
        let (caller, key, context) = (self.caller, self.key, self.key_use.context);
        match name {
            "calleraccount" => Found::of(Some(caller.account.as_str())),
            "viaservice" => Found::of(caller.via_service.as_deref()),
            "grantisforawsresource" => Found::of(Some(truth(caller.via_service.is_some()))),
            "keyspec" | "customermasterkeyspec" => Found::of(key.map(|key| key.spec.as_str())),
            "keyusage" | "customermasterkeyusage" => Found::of(key.map(|key| key.usage.as_str())),
            "keyorigin" => Found::of(key.map(|key| if key.is_external() { "EXTERNAL" } else { "AWS_KMS" })),
            "multiregion" => Found::of(key.map(|_| "false")),
            "resourcealiases" => key.map_or(Found::None, |key| self.aliases(key)),
            "reencryptonsamekey" => Found::of(self.key_use.same_key.map(truth)),
            // Services use symmetric keys alone.
            "encryptionalgorithm" if caller.via_service.is_some() || caller.conditions.is_none() => {
                Found::of(context.map(|_| "SYMMETRIC_DEFAULT"))
            }
            "encryptioncontextkeys" => context
                .map_or(Found::None, |context| some(context.pairs().keys().map(|name| name.as_str().into()).collect())),
            _ => match (name.strip_prefix("encryptioncontext:"), context) {
                // What S3 binds a key to is its own pair, and no other that looks like it.
                (Some(EncryptionContext::S3_ARN), Some(context)) if caller.via_service.is_some() => {
                    Found::of(context.pairs().get(EncryptionContext::S3_ARN).map(String::as_str))
                }
                (Some(name), Some(context)) => of_context(context, name),
                _ => Found::None,
            },
        }
    }

    fn aliases(&self, key: &Key) -> Found<'_> {
        let ring = self.kms.ring();
        let of_key = ring.aliases.iter().filter(|(_, alias)| alias.key == key.record.id);
        some(of_key.map(|((_, name), _)| name.clone().into()).collect())
    }
}

/// The pair whose key is `name`. Condition keys have no case; of the context's keys that differ in case alone, all count. Who
/// means one case only asks for `kms:EncryptionContextKeys` too. (AWS: developer guide, "kms:EncryptionContext".)
fn of_context<'c>(context: &'c EncryptionContext, name: &str) -> Found<'c> {
    let of_name = context.pairs().iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    some(of_name.map(|(_, value)| value.as_str().into()).collect())
}

fn some(values: Vec<Cow<'_, str>>) -> Found<'_> {
    if values.is_empty() { Found::None } else { Found::Many(values) }
}

/// `s3.amazonaws.com` of `s3.us-east-1.amazonaws.com`.
fn service(via: &str) -> Cow<'static, str> {
    format!("{}.amazonaws.com", via.split('.').next().unwrap_or_default()).into()
}

const fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
