//! The few requests that transit takes, over HTTP.
//!
//! Not through `vaultrs` (0.8): it carries `associated_data` where it is needed, but keeps tokens in settings that `Debug`
//! shows and plaintexts in strings that nothing wipes, reads its address and token from the environment unasked, and knows
//! nothing of OpenBao's soft deletion. Here, what is secret stands in memory that is wiped, as far as the HTTP library lets it.
//!
//! **The token's life.** It is obtained at the first call; renewed when half its time is over, by a task that ends with the
//! client; and obtained anew when the server no longer takes it. A refusal (403) by itself does not say so: most servers word
//! what a token may not do and a token that has ended alike. A token that can look itself up is asked to; of one that cannot,
//! it is what its policies do not let it do, unless the server says otherwise. So nobody who asks for a key that the token may
//! not use makes Strongroom log in again, or take the server for one that is away.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::login::{Login, Step};
use crate::crypto::SecretBytes;
use crate::wire::error::chain;
use crate::wire::trust;

/// Longest answer that is read, in bytes. The longest that transit gives describes a key's hundreds of versions.
const MAX_ANSWER: usize = 1 << 20;
/// Until a connection must stand.
const CONNECT: Duration = Duration::from_secs(5);
/// How often it is looked whether the token is due.
const TEND: Duration = Duration::from_secs(5);
/// Longest text of the server's that reaches the log, in characters.
const MAX_TEXT: usize = 512;
/// What Vault says, beside the refusal, of a token that has ended. OpenBao says no such thing.
const ENDED: &str = "invalid token";
/// How long a token that was logged in for, and cannot look itself up, is taken to be valid.
const BELIEVED: Duration = Duration::from_secs(30);

/// Where the server is, and how to log in there.
#[derive(Debug)]
pub struct Server {
    /// `https://HOST:PORT`.
    pub address: String,
    /// OpenBao's or Vault Enterprise's namespace.
    pub namespace: Option<String>,
    /// A PEM file with the authorities that are trusted; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// How to log in.
    pub login: Login,
}

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with the authorities.
    #[error("{path}: {source}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings make no client.
    #[error("the HTTP client cannot be made: {}", chain(.0))]
    Http(#[from] reqwest::Error),
}

/// A call that was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused it.
    #[error("{status}: {text}")]
    Refused { status: u16, text: String },
    /// The server refuses whoever we say we are.
    #[error("the server does not accept Strongroom's login: {0}")]
    NotAccepted(String),
    /// There was no answer, or half of one.
    #[error("{0}")]
    Away(#[source] reqwest::Error),
    /// What it answered makes no sense.
    #[error("the server's answer is malformed: {0}")]
    Malformed(&'static str),
}

/// Speaks to one server.
pub(super) struct Client {
    http: reqwest::Client,
    server: Server,
    tokens: Mutex<Tokens>,
    /// Whether the log has been told that the token cannot look itself up.
    told: AtomicBool,
}

/// The token that is used, and the one that was.
#[derive(Default)]
struct Tokens {
    session: Option<Session>,
    /// The last one that is known to have ended: as long as there is no other, no login succeeds.
    ended: Option<Arc<SecretBytes>>,
}

/// A token, and what is known of it.
#[derive(Clone)]
struct Session {
    token: Arc<SecretBytes>,
    since: Instant,
    /// When it is to be renewed.
    due: Option<Instant>,
    lease: Duration,
    renewable: bool,
    /// Whether it may look itself up: then it can be told from one that has ended.
    looks_up: bool,
}

/// What a refused call says of its token.
enum TokenState {
    Valid,
    Ended,
    /// It may be either.
    Untold,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Granted,
}

#[derive(Deserialize)]
struct Granted {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct LookUp {
    data: LookedUp,
}

#[derive(Deserialize)]
struct LookedUp {
    #[serde(default)]
    ttl: u64,
    /// Root tokens do not say.
    #[serde(default)]
    renewable: bool,
}

impl Client {
    pub fn new(mut server: Server) -> Result<Arc<Self>, ClientError> {
        server.address.truncate(server.address.trim_end_matches('/').len());
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            // A standby may send us to its active node, once; never to where the token would travel in clear.
            .redirect(Policy::custom(|attempt| {
                let downgraded =
                    attempt.previous().iter().any(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
                if attempt.previous().len() > 1 || downgraded { attempt.stop() } else { attempt.follow() }
            }));
        if let Some(path) = &server.ca_file {
            let failed = |source| ClientError::Authorities { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(failed)?;
            http = http.tls_certs_only(trust::authorities(&pem).map_err(|error| failed(std::io::Error::other(error)))?);
        }
        let client =
            Arc::new(Self { http: http.build()?, server, tokens: Mutex::default(), told: AtomicBool::new(false) });
        tokio::spawn(tend(Arc::downgrade(&client)));
        Ok(client)
    }

    /// Asks below `/v1/`: the answer, as JSON.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let body = body.map(wiped);
        let session = self.session().await?;
        let text = match self.send(method.clone(), path, Some(&session.token), body.clone()).await {
            Err(Failure::Refused { status: 403, text }) => text,
            answer => return answer,
        };
        match self.standing(&session, &text).await? {
            TokenState::Valid => return Err(Failure::Refused { status: 403, text }),
            TokenState::Ended => self.let_go(&session, true).await,
            TokenState::Untold => self.let_go(&session, false).await,
        }
        let session = self.session().await?;
        self.send(method, path, Some(&session.token), body).await
    }

    #[cfg(test)]
    pub fn address(&self) -> String {
        self.server.address.clone()
    }

    /// The token that is used, obtained if there is none.
    async fn session(&self) -> Result<Session, Failure> {
        let mut tokens = self.tokens.lock().await;
        if let Some(session) = &tokens.session {
            return Ok(session.clone());
        }
        let fresh = self.log_in(tokens.ended.as_deref()).await?;
        Ok(tokens.session.insert(fresh).clone())
    }

    /// Uses this token no more.
    async fn let_go(&self, session: &Session, has_ended: bool) {
        let mut tokens = self.tokens.lock().await;
        if tokens.session.as_ref().is_some_and(|present| Arc::ptr_eq(&present.token, &session.token)) {
            tokens.session = None;
        }
        if has_ended {
            tokens.ended = Some(Arc::clone(&session.token));
        }
    }

    /// What is to be thought of a token with which a call was refused in these words.
    async fn standing(&self, session: &Session, text: &str) -> Result<TokenState, Failure> {
        if text.contains(ENDED) {
            return Ok(TokenState::Ended);
        }
        if !session.looks_up {
            // Another one costs a login, and a lease there, unless it is read from a file.
            let is_believed = self.server.login.renews_itself() && session.since.elapsed() < BELIEVED;
            return Ok(if is_believed { TokenState::Valid } else { TokenState::Untold });
        }
        let can = self.looks_up(&session.token).await?;
        Ok(if can.is_some() { TokenState::Valid } else { TokenState::Ended })
    }

    /// What the server says of a token to itself; `None` if it does not let it ask.
    async fn looks_up(&self, token: &Arc<SecretBytes>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        match self.send(Method::GET, "auth/token/lookup-self", Some(token), None).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Refused { status: 403, text }) if text.contains(ENDED) => Err(Failure::NotAccepted(text)),
            Err(Failure::Refused { status: 403, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Obtains a token; `ended` is one that is taken no more.
    async fn log_in(&self, ended: Option<&SecretBytes>) -> Result<Session, Failure> {
        let unreadable = |error: std::io::Error| Failure::NotAccepted(error.to_string());
        match self.server.login.begin().map_err(unreadable)? {
            Step::Token(token) => {
                let token = Arc::new(token);
                if let Some(answer) = self.looks_up(&token).await? {
                    let LookUp { data } = parse(&answer, "a token's properties")?;
                    return Ok(Session::new(token, data.ttl, data.renewable, true));
                }
                if ended.is_some_and(|ended| ended.expose() == token.expose()) {
                    return Err(Failure::NotAccepted("the token has ended".to_owned()));
                }
                // It may lack the default policy, which would let it look itself up.
                if !self.told.swap(true, Ordering::Relaxed) {
                    let server = &self.server.address;
                    tracing::warn!(
                        server,
                        "the token of a key service cannot look itself up: its end will not be noticed"
                    );
                }
                Ok(Session::new(token, 0, false, false))
            }
            Step::Ask(request) => {
                let answer = self.send(Method::POST, &request.path, None, Some(wiped(request.body))).await;
                let answer = answer.map_err(|failure| match failure {
                    Failure::Refused { status: 400..=499, text } => Failure::NotAccepted(text),
                    failure => failure,
                })?;
                let Auth { auth } = parse(&answer, "a login's answer")?;
                let token = Arc::new(SecretBytes::new(auth.client_token.into_bytes()));
                // Whatever keeps it from that keeps it from nothing else.
                let looks_up = match self.looks_up(&token).await {
                    Ok(answer) => answer.is_some(),
                    Err(Failure::Refused { .. }) => false,
                    Err(failure) => return Err(failure),
                };
                Ok(Session::new(token, auth.lease_duration, auth.renewable, looks_up))
            }
        }
    }

    /// Renews the token if it is due.
    async fn renew(&self) {
        let mut tokens = self.tokens.lock().await;
        let session = &mut tokens.session;
        let Some(present) = session.as_mut().filter(|session| session.due.is_some_and(|due| due <= Instant::now()))
        else {
            return;
        };
        let renewed = if present.renewable {
            let body = Some(Bytes::from_static(b"{}"));
            self.send(Method::POST, "auth/token/renew-self", Some(&present.token), body).await
        } else {
            Err(Failure::Malformed("the token is not renewable"))
        };
        match renewed.and_then(|answer| parse::<Auth>(&answer, "a renewal's answer")) {
            Ok(Auth { auth }) => {
                let lease = Duration::from_secs(auth.lease_duration);
                // Near its greatest age a token is renewed for less and less.
                if lease * 2 < present.lease && self.server.login.renews_itself() {
                    *session = None;
                } else {
                    present.due = (!lease.is_zero()).then(|| Instant::now() + lease / 2);
                }
            }
            Err(Failure::Away(error)) => {
                tracing::warn!(server = self.server.address, %error, "the token of a key service could not be renewed yet");
            }
            Err(failure) if self.server.login.renews_itself() => {
                tracing::debug!(server = self.server.address, %failure, "logging in anew at a key service");
                *session = None;
            }
            Err(failure) => {
                tracing::warn!(server = self.server.address, %failure, "the token of a key service will end");
                present.due = None;
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&Arc<SecretBytes>>,
        body: Option<Bytes>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let url = format!("{}/v1/{path}", self.server.address);
        let mut request = self.http.request(method, url).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.server.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose())
                .map_err(|_| Failure::NotAccepted("the token is not one".to_owned()))?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = request.send().await.map_err(away)?;
        let mut answer = Zeroizing::new(Vec::with_capacity(8192));
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::Malformed("it is too long"));
            }
            answer.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return Ok(answer);
        }
        let errors = serde_json::from_slice(&answer).map_or(Vec::new(), |Errors { errors }| errors);
        let text = errors.join("; ").chars().take(MAX_TEXT).collect();
        Err(Failure::Refused { status: response.status().as_u16(), text })
    }
}

impl Session {
    fn new(token: Arc<SecretBytes>, seconds: u64, renewable: bool, looks_up: bool) -> Self {
        let lease = Duration::from_secs(seconds);
        let since = Instant::now();
        let due = (!lease.is_zero()).then(|| since + lease / 2);
        Self { token, since, due, lease, renewable, looks_up }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.server.address).finish_non_exhaustive()
    }
}

/// The document that an answer is.
pub(super) fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8], what: &'static str) -> Result<T, Failure> {
    // What serde says of it may show parts of it.
    serde_json::from_slice(answer).map_err(|_| Failure::Malformed(what))
}

/// Keeps the token alive for as long as its client lives.
async fn tend(client: Weak<Client>) {
    loop {
        tokio::time::sleep(TEND).await;
        let Some(client) = client.upgrade() else { return };
        client.renew().await;
    }
}

/// Bytes to send that are wiped when the last holder is done with them.
fn wiped(bytes: Zeroizing<Vec<u8>>) -> Bytes {
    struct Owner(Zeroizing<Vec<u8>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Owner(bytes))
}

fn away(error: reqwest::Error) -> Failure {
    // The address stands in the settings; it would only lengthen the log.
    Failure::Away(error.without_url())
}
