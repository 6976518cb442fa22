//! The signature of a form's policy: what browsers send instead of a signed request.
//!
//! The string to sign is the policy document itself, in base64 as it stands in the form. (AWS: "Authenticating requests:
//! browser-based uploads using POST".)

use super::presented::credential_parts;
use super::verify::NO_SECRET;
use super::{ALGORITHM, AmzDate, Error, Kind, Mismatch, Signed, UNSIGNED_PAYLOAD, Verifier};
use crate::crypto::constant_time_eq;

/// What a form presents, all of it required.
#[derive(Clone, Copy, Debug)]
pub struct SignedPolicy<'f> {
    /// The policy as it stands in the form.
    pub policy: &'f str,
    /// `x-amz-algorithm`.
    pub algorithm: &'f str,
    /// `x-amz-credential`.
    pub credential: &'f str,
    /// `x-amz-date`.
    pub date: &'f str,
    /// `x-amz-signature`.
    pub signature: &'f str,
    /// `x-amz-security-token`.
    pub session_token: Option<&'f str>,
}

impl SignedPolicy<'_> {
    /// Holds the signature against the policy. How long it is good for, the policy itself says.
    ///
    /// # Errors
    /// The first thing that is wrong: algorithm, credential, date, scope, key id, signature, session token.
    pub fn verify(self, verifier: &Verifier<'_>) -> Result<Signed, Error> {
        let malformed = |message: String| Error::AuthorizationQueryParametersError { message, region: None };
        if self.algorithm != ALGORITHM {
            return Err(malformed(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")));
        }
        let in_credential = |message: String| format!("Error parsing the X-Amz-Credential parameter; {message}");
        let parts = credential_parts(self.credential);
        let (access_key_id, scope) = parts.map_err(|message| malformed(in_credential(message)))?;
        let date = AmzDate::parse(self.date).ok_or_else(|| {
            malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"".to_owned())
        })?;
        if scope.date != date.day() {
            let message = format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
                scope.date,
                date.day()
            );
            return Err(malformed(in_credential(message)));
        }
        verifier.admits(&scope, Kind::Presigned { lifetime: 0 })?;
        let known = verifier.secrets.secret(&access_key_id);
        let secret = known.unwrap_or(NO_SECRET);
        let (key, cached) = verifier.keys.key(&access_key_id, secret, &scope);
        let matched = constant_time_eq(key.sign(self.policy).as_bytes(), self.signature.as_bytes());
        if known.is_none() {
            return Err(Error::InvalidAccessKeyId { access_key_id });
        }
        if !matched {
            return Err(Error::SignatureDoesNotMatch(Box::new(Mismatch {
                access_key_id,
                string_to_sign: self.policy.to_owned(),
                canonical_request: Vec::new(),
                signature_provided: self.signature.to_owned(),
            })));
        }
        if !cached {
            verifier.keys.keep(&access_key_id, secret, &scope, &key);
        }
        let token = self.session_token.unwrap_or_default();
        if !constant_time_eq(verifier.secrets.session_token(&access_key_id).unwrap_or_default(), token.as_bytes()) {
            return Err(Error::InvalidToken);
        }
        Ok(Signed {
            access_key_id,
            scope,
            date,
            kind: Kind::Header,
            signed_headers: String::new(),
            signature: self.signature.to_owned(),
            payload_hash: UNSIGNED_PAYLOAD.to_owned(),
            key,
        })
    }
}
