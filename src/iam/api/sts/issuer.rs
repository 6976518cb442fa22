//! The keys of OpenID Connect issuers: fetched where their discovery document says, and kept for a while.
//! (OpenID Connect Discovery 1.0, section 4; RFC 7517.)

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use reqwest::{Certificate, Client, redirect};
use serde::de::DeserializeOwned;

use crate::clock::Timestamp;
use crate::wire::trust;

/// How long keys are kept, and how soon they are fetched again for a key that is not among them: milliseconds.
const KEPT: i64 = 3_600_000;
const PAUSE: i64 = 10_000;
/// How long an issuer may take, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_DOCUMENT: usize = 512 * 1024;
/// Issuers kept at once.
const MOST_ISSUERS: usize = 256;

/// Fetches and keeps the keys of issuers.
pub struct Issuers {
    authorities: Vec<Certificate>,
    /// Made at the first use: most servers have none.
    client: Mutex<Option<Client>>,
    kept: Mutex<HashMap<String, (i64, Arc<JwkSet>)>>,
}

/// An issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The file with further authorities cannot be read.
    #[error("{}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It cannot be reached, or answers with an error.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// What it says is too long, or not what it should be.
    #[error("{0}")]
    Answer(String),
}

impl Issuers {
    /// Issuers whose certificates the system's authorities vouch for, or those in the PEM file `authorities`.
    ///
    /// # Errors
    /// [`IssuerError::Authorities`].
    pub fn new(authorities: Option<&Path>) -> Result<Self, IssuerError> {
        let read = |path: &Path| {
            let failed = |reason: String| IssuerError::Authorities { path: path.to_owned(), reason };
            let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            trust::authorities(&pem).map_err(|error| failed(error.to_string()))
        };
        let authorities = authorities.map(read).transpose()?.unwrap_or_default();
        Ok(Self { authorities, client: Mutex::default(), kept: Mutex::default() })
    }

    /// The keys of `issuer`, at hand or fetched; fetched again if none of them is called `wanted`.
    pub(super) async fn keys(
        &self,
        issuer: &str,
        wanted: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<JwkSet>, IssuerError> {
        let now = now.as_millisecond();
        if let Some((at, keys)) = self.kept().get(issuer) {
            let age = now - at;
            let known = wanted.is_none_or(|wanted| keys.find(wanted).is_some());
            if (0..KEPT).contains(&age) && (known || age < PAUSE) {
                return Ok(Arc::clone(keys));
            }
        }
        let keys = Arc::new(self.fetch(issuer).await?);
        let mut kept = self.kept();
        if kept.len() >= MOST_ISSUERS {
            kept.clear();
        }
        kept.insert(issuer.to_owned(), (now, Arc::clone(&keys)));
        Ok(keys)
    }

    async fn fetch(&self, issuer: &str) -> Result<JwkSet, IssuerError> {
        #[derive(serde::Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let client = self.client()?;
        let base = issuer.trim_end_matches('/');
        let found: Discovery = get(&client, &format!("{base}/.well-known/openid-configuration")).await?;
        if found.issuer.trim_end_matches('/') != base {
            return Err(IssuerError::Answer(format!("it says that it is {}", found.issuer)));
        }
        if !found.jwks_uri.starts_with("https://") {
            return Err(IssuerError::Answer("its keys are not where they are safe".to_owned()));
        }
        get(&client, &found.jwks_uri).await
    }

    fn client(&self) -> Result<Client, IssuerError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let builder = Client::builder().https_only(true).redirect(redirect::Policy::none()).timeout(PATIENCE);
        let builder = if self.authorities.is_empty() {
            builder
        } else {
            builder.tls_certs_only(self.authorities.iter().cloned())
        };
        Ok(client.insert(builder.build()?).clone())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, (i64, Arc<JwkSet>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn get<T: DeserializeOwned>(client: &Client, url: &str) -> Result<T, IssuerError> {
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if document.len() + chunk.len() > MAX_DOCUMENT {
            return Err(IssuerError::Answer(format!("{url} is longer than {MAX_DOCUMENT} bytes")));
        }
        document.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&document).map_err(|error| IssuerError::Answer(format!("{url}: {error}")))
}
