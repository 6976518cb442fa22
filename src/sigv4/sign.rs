//! The client's side: signing requests and presigning URLs.

use http::header::{AUTHORIZATION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use std::fmt::Write as _;

use super::canonical::{self, PathForm};
use super::{ALGORITHM, AmzDate, Error, Head, Kind, Scope, Service, Signed, SigningKey, UNSIGNED_PAYLOAD};
use crate::clock::Timestamp;

/// Headers that proxies may change and that are therefore not signed.
const UNSIGNED: &[&str] =
    &["authorization", "connection", "expect", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"];

/// An access key and what it signs for.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// Names the key.
    pub access_key_id: &'a str,
    /// The secret access key.
    pub secret: &'a [u8],
    /// Comes with temporary keys.
    pub session_token: Option<&'a str>,
    /// The region called.
    pub region: &'a str,
    /// The service called.
    pub service: Service,
}

/// The request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Neither the URI nor the headers name a host.
    #[error("the request names no host")]
    NoHost,
    /// It names two.
    #[error(transparent)]
    Host(#[from] Error),
    /// What signing adds cannot stand in a header or URI.
    #[error("the request cannot carry its signature")]
    Form(#[from] http::Error),
}

impl Signer<'_> {
    /// Signs `request` in its headers, to which it adds `host`, `x-amz-date`, in S3 `x-amz-content-sha256`, the session
    /// token if there is one, and `authorization`. `payload_hash`: hexadecimal SHA-256 of the body, or what stands for it.
    ///
    /// # Errors
    /// The URI names no host, or the key id or token cannot stand in a header.
    pub fn sign<B>(&self, request: &mut Request<B>, payload_hash: &str, at: Timestamp) -> Result<Signed, SignError> {
        let date = AmzDate::at(at);
        let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
        let headers = request.headers_mut();
        match host {
            Some(host) => drop(headers.insert(HOST, host.map_err(http::Error::from)?)),
            None if headers.contains_key(HOST) => {}
            None => return Err(SignError::NoHost),
        }
        headers.insert("x-amz-date", value(date.as_str())?);
        if self.service == Service::S3 {
            headers.insert("x-amz-content-sha256", value(payload_hash)?);
        }
        if let Some(token) = self.session_token {
            headers.insert("x-amz-security-token", value(token)?);
        }
        let names = names(request.headers());
        let signed = self.signed(&Head::of(request), date, Kind::Header, &names, payload_hash)?;
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={}",
            self.access_key_id, signed.scope, signed.signed_headers, signed.signature
        );
        request.headers_mut().insert(AUTHORIZATION, value(&authorization)?);
        Ok(signed)
    }

    /// The URI that lets its holder send `method` and exactly `headers` for `lifetime` seconds (at most 604 800).
    ///
    /// # Errors
    /// The URI names no host.
    pub fn presign(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        lifetime: u32,
        at: Timestamp,
    ) -> Result<Uri, SignError> {
        let date = AmzDate::at(at);
        let authority = uri.authority().ok_or(SignError::NoHost)?;
        let mut names = names(headers);
        if !headers.contains_key(HOST) {
            names.push(HOST.as_str());
            names.sort_unstable();
        }
        let mut query = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(
            query,
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={lifetime}\
             &X-Amz-SignedHeaders={}",
            encoded(&format!("{}/{}", self.access_key_id, self.scope(&date))),
            encoded(&names.join(";"))
        );
        if let Some(token) = self.session_token {
            query.push_str("&X-Amz-Security-Token=");
            query.push_str(&encoded(token));
        }
        let head = Head { method, path: uri.path(), query: &query, headers, authority: Some(authority.as_str()) };
        let signed = self.signed(&head, date, Kind::Presigned { lifetime }, &names, UNSIGNED_PAYLOAD)?;
        let mut parts = uri.clone().into_parts();
        let target = format!("{}?{query}&X-Amz-Signature={}", uri.path(), signed.signature);
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(http::Error::from)?);
        Ok(Uri::from_parts(parts).map_err(http::Error::from)?)
    }

    fn signed(
        &self,
        head: &Head<'_>,
        date: AmzDate,
        kind: Kind,
        names: &[&str],
        payload_hash: &str,
    ) -> Result<Signed, Error> {
        let signed_headers = names.join(";");
        let scope = self.scope(&date);
        let path = PathForm::Encoded(self.service.path);
        let canonical_request = canonical::request(head, path, &signed_headers, payload_hash)?;
        let key = SigningKey::derive(self.secret, &scope);
        let signature = key.sign(&canonical::string_to_sign(&date, &scope, &canonical_request));
        Ok(Signed {
            access_key_id: self.access_key_id.to_owned(),
            session_token: self.session_token.map(str::to_owned),
            scope,
            date,
            kind,
            signed_headers,
            signature,
            payload_hash: payload_hash.to_owned(),
            key,
        })
    }

    fn scope(&self, date: &AmzDate) -> Scope {
        Scope { date: date.day().to_owned(), region: self.region.to_owned(), service: self.service.name().to_owned() }
    }
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| !UNSIGNED.contains(name)).collect();
    names.sort_unstable();
    names
}

fn value(text: &str) -> Result<HeaderValue, http::Error> {
    Ok(HeaderValue::from_str(text)?)
}

fn encoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() * 2);
    canonical::append_encoded(&mut out, text.bytes(), false);
    out.into_iter().map(char::from).collect()
}
