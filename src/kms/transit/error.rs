//! What the server's refusals are in AWS's words. Transit tells them apart by text alone.

use super::client::Failure;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::{Caller, KeyArn};

/// What was tried.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'r> {
    pub arn: &'r KeyArn,
    pub caller: &'r Caller,
    /// The IAM action.
    pub action: &'static str,
}

/// What a text says, beginning with the strongest sign.
const TEXTS: &[(&str, Told)] = &[
    ("message authentication failed", Told::Ciphertext),
    ("invalid ciphertext", Told::Ciphertext),
    ("disallowed by policy (too old)", Told::Retired),
    ("encryption key not found", Told::NoKey),
    ("soft-deleted", Told::Deleted),
    ("missing 'context' for key derivation", Told::Usage),
    ("non-AEAD cipher", Told::Usage),
    ("does not support", Told::Usage),
    ("unsupported operation", Told::Usage),
    ("unsupported key type", Told::Usage),
    ("no handler for route", Told::NoMount),
];

#[derive(Clone, Copy)]
enum Told {
    Ciphertext,
    Retired,
    NoKey,
    Deleted,
    Usage,
    NoMount,
}

impl Attempt<'_> {
    /// AWS's error for `failure`.
    pub fn failed(&self, failure: Failure) -> KmsError {
        let Self { arn, caller, action } = self;
        let Failure::Refused { status, text } = &failure else {
            return KmsErrorKind::Unavailable.because("the key service cannot be reached", failure);
        };
        let told = TEXTS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, told)| *told);
        match (told, status) {
            (Some(Told::Ciphertext), 400) => KmsErrorKind::InvalidCiphertext.because("", failure),
            (Some(Told::Retired), 400) => {
                let message = format!("{arn} no longer decrypts what this version of it had encrypted.");
                KmsErrorKind::InvalidState.because(message, failure)
            }
            (Some(Told::NoKey), _) => no_key(arn),
            (Some(Told::Deleted), _) => deleted(arn),
            (Some(Told::Usage), _) => wrong_usage(arn, action),
            (Some(Told::NoMount), _) => KmsErrorKind::Unavailable.because("nothing is mounted there", failure),
            (_, 403) => {
                let message = format!(
                    "User: {} is not authorized to perform: {action} on resource: {arn} because no resource-based policy \
                     allows the {action} action",
                    caller.principal
                );
                KmsErrorKind::AccessDenied.because(message, failure)
            }
            (_, 404) => no_key(arn),
            (_, 429) => KmsErrorKind::Throttling.because("Rate exceeded", failure),
            (_, 412 | 472 | 473 | 500..=599) => {
                KmsErrorKind::Unavailable.because("the key service does not answer now", failure)
            }
            _ => KmsErrorKind::Internal.because("the key service refused", failure),
        }
    }
}

/// There is no such key.
fn no_key(arn: &KeyArn) -> KmsError {
    KmsErrorKind::NotFound.with(format!("Key '{arn}' does not exist"))
}

/// The key is deleted, and can be restored.
pub(super) fn deleted(arn: &KeyArn) -> KmsError {
    KmsErrorKind::InvalidState.with(format!("{arn} is pending deletion."))
}

/// The key is not one that binds a context.
pub(super) fn wrong_usage(arn: &KeyArn, action: &'static str) -> KmsError {
    let operation = action.strip_prefix("kms:").unwrap_or(action);
    KmsErrorKind::InvalidKeyUsage.with(format!(
        "{arn} is not valid for {operation}: transit keys must be of an AEAD type (such as aes256-gcm96) and not derived."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_as_aws_tells_them() {
        let arn = KeyArn::new("us-east-1", "000000000000", "bao/k");
        let caller = Caller::root_of("000000000000", None, "r");
        let attempt = Attempt { arn: &arn, caller: &caller, action: "kms:Decrypt" };
        let kind = |status, text: &str| attempt.failed(Failure::Refused { status, text: text.to_owned() }).kind;
        for (status, text, expected) in [
            (400, "cipher: message authentication failed", KmsErrorKind::InvalidCiphertext),
            (400, "invalid ciphertext: version is too new", KmsErrorKind::InvalidCiphertext),
            (400, "invalid ciphertext length", KmsErrorKind::InvalidCiphertext),
            (400, "ciphertext or signature version is disallowed by policy (too old)", KmsErrorKind::InvalidState),
            (400, "encryption key not found", KmsErrorKind::NotFound),
            (404, "", KmsErrorKind::NotFound),
            (404, "no handler for route \"x/keys/k\". route entry not found.", KmsErrorKind::Unavailable),
            (400, "refusing to use soft-deleted key", KmsErrorKind::InvalidState),
            (400, "missing 'context' for key derivation; the key", KmsErrorKind::InvalidKeyUsage),
            (400, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048", KmsErrorKind::InvalidKeyUsage),
            (403, "permission denied", KmsErrorKind::AccessDenied),
            (429, "", KmsErrorKind::Throttling),
            (503, "Vault is sealed", KmsErrorKind::Unavailable),
            (500, "internal error", KmsErrorKind::Unavailable),
            (400, "something else", KmsErrorKind::Internal),
        ] {
            assert_eq!(kind(status, text), expected, "{status} {text}");
        }
        let ended = attempt.failed(Failure::NotAccepted("permission denied".to_owned()));
        assert_eq!(ended.kind, KmsErrorKind::Unavailable);
    }
}
