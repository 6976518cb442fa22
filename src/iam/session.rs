//! Session tokens: self-contained. All that temporary credentials are stands in the token, sealed.
//!
//! ```text
//! token  = base64( version (1) || nonce (12) || ciphertext || tag (16) )
//! cipher = AES-256-GCM-SIV under the token key, AAD = "strongroom/session/v1" || access key id
//! plaintext = SessionRecord
//! ```
//! So a token opens beside its own access key alone, and nobody but the server makes one. Nothing is kept of a session: it
//! ends when its time comes, when its role or user is gone, or as far as policies deny what was issued before
//! (`aws:TokenIssueTime`).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};

use super::arn;
use super::store::records::{Tag, from_value, to_value};
use super::store::{Compiled, RoleView};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::aead::Aes256GcmSiv;
use crate::crypto::{Entropy, Secret, SecretBytes, random};
use crate::policy::{Attached, Kind, Policy, Session, Subject, SubjectKind};

const VERSION: u8 = 1;
const LABEL: &[u8] = b"strongroom/session/v1";
/// Longest token that is looked at, in characters.
const MAX_TOKEN: usize = 32 * 1024;
/// OpenedSession tokens kept at once.
const KEPT: usize = 4096;

/// What temporary credentials are.
#[derive(Clone, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct SessionRecord {
    /// The secret access key.
    #[n(0)]
    pub secret: String,
    /// Milliseconds since the Unix epoch.
    #[n(1)]
    pub issued: i64,
    /// Milliseconds since the Unix epoch.
    #[n(2)]
    pub expires: i64,
    /// The account.
    #[n(3)]
    pub account: String,
    /// Whose they are.
    #[n(4)]
    pub who: SessionPrincipal,
    /// What bounds them.
    #[n(5)]
    pub bounds: Option<Bounds>,
    /// Session tags.
    #[n(6)]
    pub tags: Vec<Tag>,
    /// The keys of those that go on to the next role.
    #[n(7)]
    pub transitive: Vec<String>,
    /// The source identity.
    #[n(8)]
    pub source_identity: Option<String>,
    /// SessionPrincipal vouched for a web identity.
    #[n(9)]
    pub provider: Option<String>,
}

/// Whose temporary credentials are.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub enum SessionPrincipal {
    /// The account's root (`GetSessionToken`).
    #[n(0)]
    Root,
    /// A user (`GetSessionToken`).
    #[n(1)]
    User {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its id: a user of the same name made later is another.
        #[n(1)]
        id: String,
    },
    /// A role (`AssumeRole...`).
    #[n(2)]
    Role {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its id.
        #[n(1)]
        id: String,
        /// The session's name.
        #[n(2)]
        session: String,
    },
    /// Somebody for whom a user, or the root if there is no user, asked (`GetFederationToken`).
    #[n(3)]
    Federated {
        /// The name that was given.
        #[n(0)]
        name: String,
        /// The user's name and id.
        #[n(1)]
        user: Option<(String, String)>,
    },
}

/// Session policies.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Bounds {
    /// The document that was given.
    #[n(0)]
    pub document: Option<String>,
    /// Managed policies by ARN.
    #[n(1)]
    pub arns: Vec<String>,
}

/// Shows no secret.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord").field("account", &self.account).field("who", &self.who).finish_non_exhaustive()
    }
}

/// A token that was opened.
#[derive(Debug)]
pub struct OpenedSession {
    access_key_id: String,
    /// The secret access key.
    pub secret: Arc<SecretBytes>,
    /// What it says; its secret was taken out.
    pub record: SessionRecord,
    /// The principal, as of a generation of its account.
    subject: Mutex<Option<(u64, Arc<Subject>)>>,
}

/// Seals and opens tokens.
pub struct Tokens {
    cipher: Aes256GcmSiv,
    opened: RwLock<HashMap<String, Arc<OpenedSession>>>,
}

impl Tokens {
    /// Tokens under `key`.
    pub fn new(key: &Secret<32>) -> Self {
        Self { cipher: Aes256GcmSiv::new(key), opened: RwLock::default() }
    }

    /// The token of temporary credentials with this access key id.
    pub fn seal(&self, entropy: &dyn Entropy, access_key_id: &str, record: &SessionRecord) -> String {
        let plaintext = SecretBytes::new(to_value(record));
        let sealed = self.cipher.seal(random::bytes(entropy), &aad(access_key_id), plaintext.expose());
        STANDARD.encode([&[VERSION][..], &sealed].concat())
    }

    /// What `token` says, if it is one of ours for this access key.
    pub fn open(&self, access_key_id: &str, token: &str) -> Option<Arc<OpenedSession>> {
        if let Some(opened) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(token) {
            return (opened.access_key_id == access_key_id).then(|| Arc::clone(opened));
        }
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = STANDARD.decode(token).ok()?;
        let ([VERSION], sealed) = bytes.split_first_chunk::<1>()? else { return None };
        let plaintext = self.cipher.open(&aad(access_key_id), sealed).ok()?;
        let mut record: SessionRecord = from_value(plaintext.expose()).ok()?;
        let secret = SecretBytes::new(std::mem::take(&mut record.secret).into_bytes());
        let opened = Arc::new(OpenedSession {
            access_key_id: access_key_id.to_owned(),
            secret: Arc::new(secret),
            record,
            subject: Mutex::default(),
        });
        let mut kept = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(token.to_owned(), Arc::clone(&opened));
        Some(opened)
    }
}

fn aad(access_key_id: &str) -> Vec<u8> {
    [LABEL, access_key_id.as_bytes()].concat()
}

impl OpenedSession {
    /// Whether the session has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.as_millisecond() >= self.record.expires
    }

    /// The principal, as `account` stands; `None` if its role or user is gone.
    pub fn subject(&self, account: &Compiled) -> Option<Arc<Subject>> {
        let generation = account.state.record.generation;
        let mut kept = self.subject.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, subject)) = &*kept
            && *of == generation
        {
            return Some(Arc::clone(subject));
        }
        let subject = Arc::new(self.record.subject(account)?);
        *kept = Some((generation, Arc::clone(&subject)));
        Some(subject)
    }
}

impl SessionRecord {
    /// The principal that this is a session of.
    pub fn subject(&self, account: &Compiled) -> Option<Subject> {
        let id = self.account.as_str();
        // By its id: it may have got another name since.
        let user = |id: &str| account.user(&account.user_by_id(id)?.name);
        let subject = match &self.who {
            SessionPrincipal::Root => Subject::root(id),
            SessionPrincipal::User { id, .. } => (**user(id)?).clone(),
            SessionPrincipal::Role { name, id: role_id, session } => {
                let record = account.state.roles.get(name).filter(|role| role.id == *role_id)?;
                let RoleView { arn, policies, boundary, .. } = &**account.role(name)?;
                let session_arn = arn::session(id, &record.name, session);
                let user_id = format!("{role_id}:{session}");
                let mut subject = Subject::new(SubjectKind::Role(arn.clone()), id, session_arn, user_id);
                subject.policies.clone_from(policies);
                subject.boundary.clone_from(boundary);
                subject.tags = overlaid(&record.tags, &self.tags);
                subject
            }
            SessionPrincipal::Federated { name, user: of } => {
                let (by, policies, boundary, own) = match of {
                    Some((_, id)) => {
                        let user = user(id)?;
                        (user.arn.clone(), user.policies.clone(), user.boundary.clone(), &user.tags[..])
                    }
                    None => (format!("arn:aws:iam::{id}:root"), vec![everything()], None, &[][..]),
                };
                let (arn, user_id) = (arn::federated(id, name), format!("{id}:{name}"));
                let mut subject = Subject::new(SubjectKind::Federated(by), id, arn, user_id);
                subject.named = of.as_ref().map(|(_, id)| format!("{id}:{name}"));
                (subject.policies, subject.boundary) = (policies, boundary);
                subject.tags = overlaid(own, &self.tags);
                subject
            }
        };
        Some(subject.in_session(Session {
            policies: self.bounds.as_ref().map(|bounds| bounds.policies(id, account)),
            issued: from_millis(self.issued),
            source_identity: self.source_identity.clone(),
            provider: self.provider.clone(),
        }))
    }
}

impl Bounds {
    fn policies(&self, id: &str, account: &Compiled) -> Vec<Attached> {
        let document = self.document.as_ref().and_then(|text| Policy::parse(text, Kind::Identity).ok());
        let inline = document.map(|policy| Attached { id: "session".to_owned(), policy: Arc::new(policy) });
        // A managed policy that is gone gives nothing.
        let managed = self.arns.iter().filter_map(|arn| {
            let policy = account.managed(id, arn)?;
            Some(Attached { id: arn.clone(), policy })
        });
        inline.into_iter().chain(managed).collect()
    }
}

/// Session tags in front of those of the same keys that the role, or the user who vouches, has of its own.
fn overlaid(own: &[Tag], session: &[Tag]) -> Vec<Tag> {
    let mut tags = session.to_vec();
    let hidden = |key: &str| session.iter().any(|(name, _)| name.eq_ignore_ascii_case(key));
    tags.extend(own.iter().filter(|(key, _)| !hidden(key)).cloned());
    tags
}

/// What a root may do: the bounds of what its federated users may.
fn everything() -> Attached {
    let policy = super::managed::find("arn:aws:iam::aws:policy/AdministratorAccess").expect("it is among them");
    Attached { id: policy.arn(), policy: Arc::clone(policy.policy()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SeededEntropy;
    use crate::iam::store::AccountState;
    use crate::iam::store::records::{Grants, UserRecord};

    fn record(who: SessionPrincipal) -> SessionRecord {
        SessionRecord {
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            issued: 1_700_000_000_000,
            expires: 1_700_003_600_000,
            account: "111122223333".to_owned(),
            who,
            bounds: Some(Bounds { document: Some("{}".to_owned()), arns: vec!["arn".to_owned()] }),
            tags: vec![("k".to_owned(), "v".to_owned())],
            transitive: vec!["k".to_owned()],
            source_identity: Some("alice".to_owned()),
            provider: None,
        }
    }

    #[test]
    fn a_token_opens_beside_its_key_alone() {
        let entropy = SeededEntropy::new(1);
        let tokens = Tokens::new(&Secret::new([7; 32]));
        let token = tokens.seal(&entropy, "ASIAONE", &record(SessionPrincipal::Root));
        assert!(tokens.open("ASIATWO", &token).is_none());
        let opened = tokens.open("ASIAONE", &token).unwrap();
        assert_eq!(opened.secret.expose(), b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        assert!(tokens.open("ASIATWO", &token).is_none(), "nor when it was opened before");
        assert!(!format!("{opened:?}").contains("wJalr"));
        assert!(opened.is_over(from_millis(1_700_003_600_000)) && !opened.is_over(from_millis(1_700_003_599_999)));
        assert!(Tokens::new(&Secret::new([8; 32])).open("ASIAONE", &token).is_none());
        for bad in ["", "AQ==", "not base64!", &token[..token.len() - 4]] {
            assert!(tokens.open("ASIAONE", bad).is_none(), "{bad}");
        }
        let mut bytes = STANDARD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(tokens.open("ASIAONE", &STANDARD.encode(&bytes)).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn stored_forms_do_not_change() {
        let text = |text: &str| text.to_owned();
        let whose = [
            ("root", SessionPrincipal::Root),
            ("user", SessionPrincipal::User { name: text("a"), id: text("AIDA") }),
            ("role", SessionPrincipal::Role { name: text("r"), id: text("AROA"), session: text("s") }),
            ("federated", SessionPrincipal::Federated { name: text("f"), user: Some((text("a"), text("AIDA"))) }),
        ];
        for (name, who) in whose {
            let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/iam");
            let path = directory.join(format!("session-{name}.bin"));
            if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
                std::fs::write(&path, to_value(&record(who.clone()))).unwrap();
            }
            let golden = std::fs::read(&path).unwrap();
            assert_eq!(from_value::<SessionRecord>(&golden).unwrap(), record(who.clone()));
            assert_eq!(to_value(&record(who)), golden);
        }
    }

    #[test]
    fn a_session_goes_with_its_user() {
        let user = SessionPrincipal::User { name: "a".to_owned(), id: "AIDA".to_owned() };
        assert!(record(user).subject(&Compiled::default()).is_none());
        let root = record(SessionPrincipal::Root).subject(&Compiled::default()).unwrap();
        assert!(root.is_root() && root.session.is_some());
        let federated = record(SessionPrincipal::Federated { name: "f".to_owned(), user: None })
            .subject(&Compiled::default())
            .unwrap();
        assert_eq!(federated.arn, "arn:aws:sts::111122223333:federated-user/f");
    }

    #[test]
    fn a_federated_user_has_the_tags_of_the_user_who_vouches() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut state = AccountState::default();
        state.users.insert(UserRecord {
            id: "AIDA".to_owned(),
            name: "a".to_owned(),
            path: "/".to_owned(),
            created: 0,
            grants: Grants::default(),
            groups: Vec::new(),
            boundary: None,
            tags: vec![tag("Team", "blue"), tag("K", "own")],
        });
        let account = Compiled::new("111122223333", state, &Compiled::default());
        let by = ("a".to_owned(), "AIDA".to_owned());
        let federated =
            record(SessionPrincipal::Federated { name: "f".to_owned(), user: Some(by) }).subject(&account).unwrap();
        assert_eq!(federated.tags, [tag("k", "v"), tag("Team", "blue")]);
    }

    #[test]
    fn session_tags_come_first() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let tags = overlaid(&[tag("Team", "blue"), tag("a", "b")], &[tag("team", "red")]);
        assert_eq!(tags, [tag("team", "red"), tag("a", "b")]);
    }
}
