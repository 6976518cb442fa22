//! How Strongroom shows who it is: a token, an AppRole, or the Kubernetes service account that it runs as. (OpenBao: "Auth
//! methods".)

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypto::SecretBytes;

/// Longest secret that is read from a file, in bytes: a service account's token has one or two thousand.
const MAX_SECRET: usize = 64 * 1024;

/// How to log in.
#[derive(Debug)]
pub enum Login {
    /// A token that somebody else looks after.
    Token(TokenSource),
    /// AppRole.
    AppRole {
        /// Where the method is mounted below `auth/`.
        mount: String,
        /// The role's id.
        role_id: String,
        /// A file with the secret id; read at each login. `None` if the role is bound otherwise.
        secret_id_file: Option<PathBuf>,
    },
    /// Kubernetes.
    Kubernetes {
        /// Where the method is mounted below `auth/`.
        mount: String,
        /// The role.
        role: String,
        /// The file with the service account's token; read at each login, as Kubernetes replaces it.
        jwt_file: PathBuf,
    },
}

/// Where a token comes from.
#[derive(Debug)]
pub enum TokenSource {
    /// A file, such as an agent's sink; read again when the token is no longer taken.
    File(PathBuf),
    /// The environment's.
    Given(SecretBytes),
}

/// A request that logs in.
pub(super) struct LoginRequest {
    /// Below `/v1/`.
    pub path: String,
    /// JSON.
    pub body: Zeroizing<Vec<u8>>,
}

/// What comes of a login's first step.
pub(super) enum Step {
    /// The token is known.
    Token(SecretBytes),
    /// The server is to be asked for one.
    Ask(LoginRequest),
}

#[derive(Serialize)]
struct AppRoleBody<'a> {
    role_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
}

#[derive(Serialize)]
struct KubernetesBody<'a> {
    role: &'a str,
    jwt: &'a str,
}

impl Login {
    /// Reads what has to be read.
    pub(super) fn begin(&self) -> io::Result<Step> {
        match self {
            Self::Token(TokenSource::Given(token)) => Ok(Step::Token(SecretBytes::new(token.expose().to_vec()))),
            Self::Token(TokenSource::File(path)) => Ok(Step::Token(SecretBytes::new(read(path)?.as_bytes().to_vec()))),
            Self::AppRole { mount, role_id, secret_id_file } => {
                let secret_id = secret_id_file.as_ref().map(read).transpose()?;
                let body = AppRoleBody { role_id, secret_id: secret_id.as_ref().map(|text| text.as_str()) };
                Ok(Step::Ask(LoginRequest { path: format!("auth/{mount}/login"), body: json(&body) }))
            }
            Self::Kubernetes { mount, role, jwt_file } => {
                let jwt = read(jwt_file)?;
                let body = KubernetesBody { role, jwt: &jwt };
                Ok(Step::Ask(LoginRequest { path: format!("auth/{mount}/login"), body: json(&body) }))
            }
        }
    }

    /// Whether another token can be had at any time.
    pub(super) fn renews_itself(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

/// The text of a file, without the white space around it.
fn read(path: &PathBuf) -> io::Result<Zeroizing<String>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = Zeroizing::new(fs::read_to_string(path).map_err(named)?);
    if text.len() > MAX_SECRET || text.trim().is_empty() {
        return Err(named(io::Error::new(io::ErrorKind::InvalidData, "it holds no secret")));
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// JSON in memory that is wiped.
pub(super) fn json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Room for all that is ever sent, so that nothing is moved and left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 8192));
    serde_json::to_writer(&mut *bytes, value).expect("plain values become JSON");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_says_what_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, " s3cr3t\n").unwrap();
        let ask = |login: Login| match login.begin().unwrap() {
            Step::Ask(request) => (request.path, String::from_utf8(request.body.to_vec()).unwrap()),
            Step::Token(token) => (String::new(), String::from_utf8(token.expose().to_vec()).unwrap()),
        };
        let approle =
            |secret_id_file| Login::AppRole { mount: "approle".to_owned(), role_id: "r".to_owned(), secret_id_file };
        let login = "auth/approle/login".to_owned();
        assert_eq!(
            ask(approle(Some(secret.clone()))),
            (login.clone(), r#"{"role_id":"r","secret_id":"s3cr3t"}"#.to_owned())
        );
        assert_eq!(ask(approle(None)), (login, r#"{"role_id":"r"}"#.to_owned()));
        let kubernetes = Login::Kubernetes { mount: "k8s".to_owned(), role: "r".to_owned(), jwt_file: secret.clone() };
        assert_eq!(ask(kubernetes), ("auth/k8s/login".to_owned(), r#"{"role":"r","jwt":"s3cr3t"}"#.to_owned()));
        let file = || Login::Token(TokenSource::File(secret.clone()));
        assert_eq!(ask(file()), (String::new(), "s3cr3t".to_owned()));
        fs::write(&secret, "another").unwrap();
        assert_eq!(ask(file()).1, "another", "it is read each time");
        fs::write(&secret, "\n").unwrap();
        assert!(file().begin().is_err());
        assert!(!format!("{:?}", Login::Token(TokenSource::Given(SecretBytes::new(vec![7])))).contains('7'));
    }
}
