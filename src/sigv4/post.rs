//! The signature of a form's policy: what browsers send instead of a signed request.
//!
//! The string to sign is the policy document itself, in base64 as it stands in the form. (AWS: "Authenticating requests:
//! browser-based uploads using POST".)

use super::presented::credential_parts;
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
        let key = verifier.prove(&access_key_id, self.session_token, &scope, |key| {
            if constant_time_eq(key.sign(self.policy).as_bytes(), self.signature.as_bytes()) {
                return Ok(());
            }
            Err(Error::SignatureDoesNotMatch(Box::new(Mismatch {
                access_key_id: access_key_id.clone(),
                string_to_sign: self.policy.to_owned(),
                canonical_request: Vec::new(),
                signature_provided: self.signature.to_owned(),
            })))
        })?;
        Ok(Signed {
            access_key_id,
            session_token: self.session_token.map(str::to_owned),
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
