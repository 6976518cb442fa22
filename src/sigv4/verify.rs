//! Verification: from what is presented to who signed.

use http::HeaderName;
use http::header::HOST;

use super::canonical::{self, PathForm};
use super::error::Window;
use super::{
    AmzDate, ChunkSignatures, Error, GLOBAL_REGION, Head, KeyLookup, Kind, Mismatch, PathRule, Presented, Scope,
    Secrets, Service, SigningKey, SigningKeys,
};
use crate::clock::Timestamp;
use crate::crypto::constant_time_eq;

/// How far a request's date may lie from the time here: fifteen minutes, in milliseconds.
const MAX_SKEW_MILLIS: i64 = 900_000;

/// What signatures are held against.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// The keys there are.
    pub secrets: &'a dyn Secrets,
    /// The region of this endpoint.
    pub region: &'a str,
    /// The service that is called.
    pub service: Service,
    /// The time.
    pub now: Timestamp,
    /// Keys derived before.
    pub keys: &'a SigningKeys,
}

impl Verifier<'_> {
    /// Refuses a scope of another service or region.
    pub(super) fn admits(&self, scope: &Scope, kind: Kind) -> Result<(), Error> {
        let (message, region) = if scope.service != self.service.name() {
            let (theirs, ours) = (&scope.service, self.service.name());
            (format!("incorrect service \"{theirs}\". This endpoint belongs to \"{ours}\"."), None)
        } else if scope.region != self.region && !(self.service.is_global() && scope.region == GLOBAL_REGION) {
            let (theirs, ours) = (&scope.region, self.region);
            (format!("the region '{theirs}' is wrong; expecting '{ours}'"), Some(ours.to_owned()))
        } else {
            return Ok(());
        };
        Err(match kind {
            Kind::Header => Error::AuthorizationHeaderMalformed { message, region },
            Kind::Presigned { .. } => Error::AuthorizationQueryParametersError {
                message: format!("Error parsing the X-Amz-Credential parameter; {message}"),
                region,
            },
        })
    }
}

impl Verifier<'_> {
    /// The signing key of `access_key_id`, if `matches` says that it made the signature and its session has not ended.
    pub(super) fn prove(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
        scope: &Scope,
        matches: impl FnOnce(&SigningKey) -> Result<(), Error>,
    ) -> Result<SigningKey, Error> {
        let found = self.secrets.find(access_key_id, session_token, self.now);
        // An unknown key id takes the way of a wrong secret, so that the answer is not faster for it.
        let secret = match &found {
            KeyLookup::Secret(secret) | KeyLookup::Expired(secret) => secret.expose(),
            KeyLookup::Unknown | KeyLookup::InvalidToken => NO_SECRET,
        };
        let (key, cached) = self.keys.key(access_key_id, secret, scope);
        let matched = matches(&key);
        match found {
            KeyLookup::Unknown => return Err(Error::InvalidAccessKeyId { access_key_id: access_key_id.to_owned() }),
            KeyLookup::InvalidToken => return Err(Error::InvalidToken),
            KeyLookup::Secret(_) | KeyLookup::Expired(_) => matched?,
        }
        if matches!(found, KeyLookup::Expired(_)) {
            return Err(Error::ExpiredToken);
        }
        if !cached {
            self.keys.keep(access_key_id, secret, scope, &key);
        }
        Ok(key)
    }
}

/// Proof that a request was signed with the key it names. Only [`Presented::verify`] and [`super::Signer`] make it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "\"signed headers\" is SigV4's own term")]
pub struct Signed {
    pub(super) access_key_id: String,
    pub(super) session_token: Option<String>,
    pub(super) scope: Scope,
    pub(super) date: AmzDate,
    pub(super) kind: Kind,
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) payload_hash: String,
    pub(super) key: SigningKey,
}

impl Signed {
    /// The key that signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The session token that came with it.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// Whether the header called `name`, in lower case, is among what was signed.
    pub fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }

    /// What the signature is good for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// When it was made.
    pub fn date(&self) -> AmzDate {
        self.date
    }

    /// How it was sent.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names of the headers it covers.
    pub fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.signed_headers.split(';')
    }

    /// The signature: 64 hexadecimal digits.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// What it has in the place of the body's hash, which the body must now be held against.
    pub fn payload_hash(&self) -> &str {
        &self.payload_hash
    }

    /// The chain of chunk signatures that begins with this one.
    pub fn chunks(&self) -> ChunkSignatures {
        ChunkSignatures::new(self.key.clone(), self.date, self.scope.clone(), self.signature.clone())
    }
}

impl Presented {
    /// Holds the signature against the request. `payload_hash` is what stands for the body in the canonical request.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order that the module doc gives.
    pub fn verify(self, head: &Head<'_>, verifier: &Verifier<'_>, payload_hash: &str) -> Result<Signed, Error> {
        verifier.admits(&self.scope, self.kind)?;
        self.covers_what_matters(head, verifier.service)?;
        let key = verifier.prove(&self.access_key_id, self.session_token.as_deref(), &self.scope, |key| {
            self.matches(head, verifier.service, key, payload_hash)
        })?;
        self.in_time(verifier.now)?;
        let Self { access_key_id, scope, date, kind, signed_headers, signature, session_token } = self;
        let payload_hash = payload_hash.to_owned();
        Ok(Signed { access_key_id, session_token, scope, date, kind, signed_headers, signature, payload_hash, key })
    }

    /// The host, and in S3 every `x-amz-` header, must be signed: otherwise whoever holds a presigned PUT could add
    /// `x-amz-copy-source`, or choose the encryption. The one exception is bound by the signature as the payload's hash.
    fn covers_what_matters(&self, head: &Head<'_>, service: Service) -> Result<(), Error> {
        let signed: Vec<&str> = self.signed_headers.split(';').collect();
        let covered = |name: &str| signed.iter().any(|signed| signed.eq_ignore_ascii_case(name));
        let mut names: Vec<String> = Vec::new();
        if !covered(HOST.as_str()) {
            names.push(HOST.as_str().to_owned());
        }
        if service == Service::S3 {
            let matters = |name: &&str| name.starts_with("x-amz-") && *name != "x-amz-content-sha256";
            let unsigned = head.headers.keys().map(HeaderName::as_str).filter(matters).filter(|name| !covered(name));
            names.extend(unsigned.map(str::to_owned));
        }
        if names.is_empty() { Ok(()) } else { Err(Error::HeadersNotSigned { names }) }
    }

    fn matches(&self, head: &Head<'_>, service: Service, key: &SigningKey, payload_hash: &str) -> Result<(), Error> {
        let attempt = |path| -> Result<(bool, String, Vec<u8>), Error> {
            let canonical_request = canonical::request(head, path, &self.signed_headers, payload_hash)?;
            let string_to_sign = canonical::string_to_sign(&self.date, &self.scope, &canonical_request);
            let matched = constant_time_eq(key.sign(&string_to_sign).as_bytes(), self.signature.as_bytes());
            Ok((matched, string_to_sign, canonical_request))
        };
        let (matched, string_to_sign, canonical_request) = attempt(PathForm::Encoded(service.path))?;
        if matched {
            return Ok(());
        }
        // Some clients send and sign reserved characters as they are.
        let raw = service.path == PathRule::AsSent && canonical::has_unencoded_reserved(head.path);
        if raw && attempt(PathForm::Raw)?.0 {
            return Ok(());
        }
        Err(Error::SignatureDoesNotMatch(Box::new(Mismatch {
            access_key_id: self.access_key_id.clone(),
            string_to_sign,
            canonical_request,
            signature_provided: self.signature.clone(),
        })))
    }

    fn in_time(&self, now: Timestamp) -> Result<(), Error> {
        let age = now.as_millisecond() - self.date.timestamp().as_millisecond();
        match self.kind {
            Kind::Header if (-MAX_SKEW_MILLIS..=MAX_SKEW_MILLIS).contains(&age) => Ok(()),
            Kind::Header => Err(Error::RequestTimeTooSkewed {
                request_time: self.date,
                server_time: now,
                max_skew_millis: MAX_SKEW_MILLIS,
            }),
            Kind::Presigned { lifetime } => {
                let millis = i64::from(lifetime) * 1000;
                let expires = crate::clock::from_millis(self.date.timestamp().as_millisecond() + millis);
                let window = Window { lifetime, expires, server_time: now };
                match age {
                    _ if age > millis => Err(Error::Expired(window)),
                    _ if age < -MAX_SKEW_MILLIS => Err(Error::NotYetValid(window)),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Stands in for the secret of a key that does not exist; as long as those of AWS.
const NO_SECRET: &[u8] = &[0; 40];
