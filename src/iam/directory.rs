//! Everybody there is: the accounts that the configuration declares, their users and roles, and who stands behind which
//! access key.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::service_role::ServiceSessions;
use super::session::{SessionRecord, Tokens};
use super::store::records::LastUseRecord;
use super::store::{AccountState, Compiled, IdentityStore, OpenError};
use super::throttle::Throttle;
use super::{AccessKey, Account, Identity, arn, temporary_key};
use crate::clock::{SharedClock, Timestamp};
use crate::crypto::{Secret, SecretBytes, SharedEntropy, random};
use crate::kms::root::RootKey;
use crate::kms::root::rotation::{Reseal, ResealError};
use crate::policy::{Subject, SubjectKind};
use crate::sigv4::{self, KeyLookup, Secrets, Signed};
use crate::store::schema::PublicAccessBlock;
use crate::store::{MetaStore, StoreError};

/// The id of who is not there any more.
const GONE: &str = "gone";
/// How exactly a last use is kept, in milliseconds.
const USE_GRAIN: i64 = 60_000;

/// The accounts, and whoever belongs to them.
#[derive(Default)]
pub struct Directory {
    accounts: HashMap<String, Arc<Account>>,
    roots: HashMap<String, Arc<AccessKey>>,
    kept: Option<Kept>,
    throttle: Option<Throttle>,
    explains_denials: bool,
    pub(super) service_sessions: ServiceSessions,
}

/// What is stored.
struct Kept {
    store: IdentityStore,
    tokens: Tokens,
    /// By access key, or by a role's unique id; and whether it was written down.
    uses: Mutex<HashMap<String, (LastUseRecord, bool)>>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Directory {
    /// Adds `account` and its root's access key.
    pub fn add_root(&mut self, account: Account, access_key_id: String, secret: SecretBytes) {
        let account = Arc::new(account);
        let identity = Identity::new(&account, &Arc::new(Subject::root(&account.id)), access_key_id.as_str());
        self.accounts.insert(account.id.clone(), account);
        let key = AccessKey { id: access_key_id.clone(), secret: Arc::new(secret), identity };
        self.roots.insert(access_key_id, Arc::new(key));
    }

    /// Reads users, roles and their like from `meta`, whose secrets `root` opens.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        &mut self,
        meta: Arc<dyn MetaStore>,
        root: Arc<RootKey>,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<(), OpenError> {
        let (store, token_key, uses) = IdentityStore::open(meta, root, &*entropy).await?;
        let uses = uses.into_iter().map(|(id, record)| (id, (record, true))).collect();
        let tokens = Tokens::new(&token_key);
        self.kept = Some(Kept { store, tokens, uses: Mutex::new(uses), clock, entropy });
        Ok(())
    }

    /// Writes down since when each account is known, of those for which that was not done yet: since the first thing that was
    /// made in it, or now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn date_accounts(&self) -> Result<(), StoreError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let now = kept.clock.now().as_millisecond();
        for account in self.accounts.keys() {
            let date = |state: &mut AccountState| {
                if state.record.created.is_none() {
                    let users = state.users.iter().map(|user| user.created);
                    let roles = state.roles.iter().map(|role| role.created);
                    state.record.created = users.chain(roles).chain([now]).min();
                }
                Ok::<_, StoreError>(())
            };
            kept.store.change(account, date).await?;
        }
        Ok(())
    }

    /// Bounds the wrong signatures that a client address may send each minute; 0: not at all.
    pub fn limit_failures(&mut self, per_minute: u32) {
        self.throttle = Some(Throttle::new(per_minute));
    }

    /// Has refusals name the statement that denies to all callers of the owner's account, not to its root alone.
    pub fn explain_denials(&mut self, wanted: bool) {
        self.explains_denials = wanted;
    }

    /// The root's access key with this id.
    pub fn access_key(&self, id: &str) -> Option<&Arc<AccessKey>> {
        self.roots.get(id)
    }

    /// The account with this id.
    pub fn account(&self, id: &str) -> Option<&Arc<Account>> {
        self.accounts.get(id)
    }

    /// The ids of all accounts.
    pub(super) fn account_ids(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// The account with this canonical id.
    pub fn account_by_canonical_id(&self, id: &str) -> Option<&Arc<Account>> {
        self.accounts.values().find(|account| account.canonical_id == id)
    }

    /// The account whose root has this address.
    pub fn account_by_email(&self, email: &str) -> Option<&Arc<Account>> {
        self.accounts.values().find(|account| !email.is_empty() && account.email.eq_ignore_ascii_case(email))
    }

    /// Whether an account has this alias.
    pub(super) fn is_alias(&self, alias: &str) -> bool {
        self.account_ids().any(|account| self.compiled(account).state.record.alias.as_deref() == Some(alias))
    }

    /// The account that an access key belongs to, whosever it is.
    pub fn account_of_key(&self, id: &str) -> Option<&Arc<Account>> {
        if let Some(root) = self.roots.get(id) {
            return Some(&root.identity.account);
        }
        match self.kept.as_ref()?.store.key(id) {
            Some(key) => self.accounts.get(&key.account),
            None => self.accounts.get(&temporary_key::account(id)?),
        }
    }

    /// What `verify` says of a request that `client` signed with this key, unless it has sent too many wrong signatures.
    ///
    /// # Errors
    /// [`sigv4::Error::TooManyFailures`], and those of `verify`.
    pub fn attempt(
        &self,
        client: IpAddr,
        access_key_id: &str,
        now: Timestamp,
        verify: impl FnOnce() -> Result<Signed, sigv4::Error>,
    ) -> Result<Signed, sigv4::Error> {
        match &self.throttle {
            Some(throttle) => throttle.attempt(client, access_key_id, now, verify),
            None => verify(),
        }
    }

    /// Whom the key that signed speaks for; `None` if it, or its user or role, has gone since the signature was verified.
    pub fn identify(&self, signed: &Signed) -> Option<Identity> {
        let identity = self.find_identity(signed)?;
        let is_told_statements = identity.is_told_statements || self.explains_denials;
        Some(Identity { is_told_statements, ..identity })
    }

    fn find_identity(&self, signed: &Signed) -> Option<Identity> {
        let id = signed.access_key_id();
        if let Some(root) = self.roots.get(id) {
            self.kept.iter().for_each(|kept| kept.note_use(id, signed));
            return Some(root.identity.clone());
        }
        let kept = self.kept.as_ref()?;
        if let Some(token) = signed.session_token() {
            let opened = kept.tokens.open(id, token)?;
            let account = self.accounts.get(&opened.record.account)?;
            let subject = opened.subject(&kept.store.account(&account.id))?;
            if let (SubjectKind::Role(_), Some((role, _))) = (&subject.kind, subject.id.split_once(':')) {
                kept.note_use(role, signed);
            }
            return Some(Identity::new(account, &subject, id));
        }
        let key = kept.store.key(id)?;
        let account = self.accounts.get(&key.account)?;
        let identity = Identity::new(account, kept.store.account(&account.id).user(&key.user)?, id);
        kept.note_use(id, signed);
        Some(identity)
    }

    /// What a request's session token says.
    pub fn session(&self, signed: &Signed) -> Option<Arc<super::session::OpenedSession>> {
        self.kept.as_ref()?.tokens.open(signed.access_key_id(), signed.session_token()?)
    }

    /// Whether there is a principal with this ARN.
    pub fn knows(&self, principal: &str) -> bool {
        arn::split(principal).is_some_and(|(account, _)| self.accounts.contains_key(account))
            && self.subject_of_arn(principal).id != GONE
    }

    /// The principal with this ARN, as it stands now: for what goes on when its request has ended. A role's session is taken
    /// for the role; who is gone may do nothing.
    pub fn subject_of_arn(&self, principal: &str) -> Arc<Subject> {
        let nobody = |account: &str| Arc::new(Subject::new(SubjectKind::User, account, principal, GONE));
        let Some((account, resource)) = arn::split(principal) else { return nobody("") };
        if resource == "root" {
            return Arc::new(Subject::root(account));
        }
        let Some(kept) = &self.kept else { return nobody(account) };
        let compiled = kept.store.account(account);
        let found = match resource.split_once('/') {
            Some(("user", _)) => compiled.user(arn::name_of(principal)).filter(|user| user.arn == principal).cloned(),
            Some(("role", _)) => {
                let role = compiled.role(arn::name_of(principal)).filter(|role| role.arn == principal);
                role.and_then(|_| self.session_of(&compiled, account, arn::name_of(principal), "explain"))
            }
            Some(("assumed-role", rest)) => rest.split_once('/').and_then(|(name, session)| {
                compiled.state.roles.get(name).filter(|role| role.name == name)?;
                self.session_of(&compiled, account, name, session)
            }),
            _ => None,
        };
        found.unwrap_or_else(|| nobody(account))
    }

    /// The time, in milliseconds since the Unix epoch; `None` where no identities are kept.
    pub(super) fn now(&self) -> Option<i64> {
        Some(self.kept.as_ref()?.clock.now().as_millisecond())
    }

    /// A session of a role, without tags or bounds.
    pub(super) fn session_of(
        &self,
        compiled: &Compiled,
        account: &str,
        role: &str,
        session: &str,
    ) -> Option<Arc<Subject>> {
        let role = compiled.state.roles.get(role)?;
        let record = SessionRecord {
            secret: String::new(),
            issued: self.now()?,
            expires: i64::MAX,
            account: account.to_owned(),
            who: super::session::SessionPrincipal::Role {
                name: role.name.clone(),
                id: role.id.clone(),
                session: session.to_owned(),
            },
            bounds: None,
            tags: Vec::new(),
            transitive: Vec::new(),
            source_identity: None,
            provider: None,
        };
        record.subject(compiled).map(Arc::new)
    }

    /// The account's identities.
    pub(in crate::iam) fn compiled(&self, account: &str) -> Arc<Compiled> {
        self.kept.as_ref().map(|kept| kept.store.account(account)).unwrap_or_default()
    }

    /// Changes the account's identities, as [`IdentityStore::change`].
    pub(in crate::iam) async fn change<T, E: From<StoreError>>(
        &self,
        account: &str,
        change: impl Fn(&mut AccountState) -> Result<T, E>,
    ) -> Result<T, E> {
        match &self.kept {
            Some(kept) => kept.store.change(account, change).await,
            None => Err(StoreError::Engine("identities are not kept here".into()).into()),
        }
    }

    /// A fresh id that begins with `prefix` (`AKIA`, `AIDA`), with so many random characters.
    pub(in crate::iam) fn draw_id<const N: usize>(&self, prefix: &str) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let Some(kept) = &self.kept else { return prefix.to_owned() };
        let drawn = random::bytes::<N>(&*kept.entropy);
        let letters = drawn.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        prefix.chars().chain(letters).collect()
    }

    /// A fresh id of temporary credentials of this account.
    pub(in crate::iam) fn draw_temporary_id(&self, account: &str) -> String {
        let drawn = self.kept.as_ref().map(|kept| random::bytes(&*kept.entropy)).unwrap_or_default();
        temporary_key::id(account, drawn)
    }

    /// A fresh secret access key: forty characters.
    pub(in crate::iam) fn draw_secret(&self) -> SecretBytes {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let drawn = Secret::filled(|bytes: &mut [u8; 40]| {
            if let Some(kept) = &self.kept {
                kept.entropy.fill(bytes);
            }
        });
        SecretBytes::new(drawn.expose().iter().map(|byte| ALPHABET[usize::from(byte % 64)]).collect())
    }

    /// Seals a secret access key for storage.
    pub(in crate::iam) fn seal_secret(&self, access_key_id: &str, secret: &[u8]) -> Vec<u8> {
        self.kept.as_ref().map(|kept| kept.store.seal(&*kept.entropy, access_key_id, secret)).unwrap_or_default()
    }

    /// The token of temporary credentials.
    pub(in crate::iam) fn seal_session(&self, access_key_id: &str, record: &SessionRecord) -> String {
        self.kept.as_ref().map(|kept| kept.tokens.seal(&*kept.entropy, access_key_id, record)).unwrap_or_default()
    }

    /// The last use of an access key, or of a role, by its unique id.
    pub(in crate::iam) fn last_use(&self, id: &str) -> Option<LastUseRecord> {
        let uses = self.kept.as_ref()?.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(id).map(|(record, _)| record.clone())
    }

    /// Which public access the account blocks in all of its buckets; `None` if it has said nothing.
    pub fn public_access(&self, account: &str) -> Option<PublicAccessBlock> {
        self.kept.as_ref()?.store.account(account).state.record.public_access
    }

    /// Says which public access the account blocks in all of its buckets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_public_access(&self, account: &str, block: Option<PublicAccessBlock>) -> Result<(), StoreError> {
        let kept = self.kept.as_ref().ok_or_else(|| StoreError::Engine("no accounts are kept".into()))?;
        let set = |state: &mut AccountState| {
            state.record.public_access = block;
            Ok::<_, StoreError>(())
        };
        kept.store.change(account, set).await
    }

    /// Writes down when keys and roles were last used. A crash loses what happened since it was last called; AWS's own answer lags too.
    ///
    /// # Errors
    /// [`StoreError`]; they are then written the next time.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let fresh: Vec<(String, LastUseRecord)> = {
            let mut uses = kept.uses.lock().unwrap_or_else(PoisonError::into_inner);
            let has_role = |id: &str| self.account_ids().any(|account| self.compiled(account).role_by_id(id).is_some());
            uses.retain(|id, _| kept.store.key(id).is_some() || self.roots.contains_key(id) || has_role(id));
            let fresh = uses.iter().filter(|(_, (_, written))| !written);
            fresh.map(|(id, (record, _))| (id.clone(), record.clone())).collect()
        };
        kept.store.write_uses(&fresh).await?;
        let mut uses = kept.uses.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, record) in fresh {
            if let Some(last) = uses.get_mut(&id).filter(|(last, _)| *last == record) {
                last.1 = true;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Reseal for Directory {
    fn name(&self) -> &'static str {
        "access keys and the session token key"
    }

    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        match &self.kept {
            Some(kept) => kept.store.reseal(root, &*kept.entropy).await,
            None => Ok(0),
        }
    }
}

impl Kept {
    /// Notes a use of the access key or role `id`.
    fn note_use(&self, id: &str, signed: &Signed) {
        let (now, scope) = (self.clock.now().as_millisecond(), signed.scope());
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, written)) = uses.get_mut(id) {
            if now - last.at < USE_GRAIN && last.service == scope.service && last.region == scope.region {
                return;
            }
            *last = LastUseRecord { at: now, service: scope.service.clone(), region: scope.region.clone() };
            *written = false;
            return;
        }
        let record = LastUseRecord { at: now, service: scope.service.clone(), region: scope.region.clone() };
        uses.insert(id.to_owned(), (record, false));
    }
}

impl Secrets for Directory {
    fn find(&self, access_key_id: &str, session_token: Option<&str>, now: Timestamp) -> KeyLookup {
        if let Some(root) = self.roots.get(access_key_id) {
            // Long-term keys have no token.
            return session_token
                .map_or_else(|| KeyLookup::Secret(Arc::clone(&root.secret)), |_| KeyLookup::InvalidToken);
        }
        let Some(kept) = &self.kept else { return KeyLookup::Unknown };
        if let Some(key) = kept.store.key(access_key_id) {
            return match session_token {
                Some(_) => KeyLookup::InvalidToken,
                None if key.active && self.accounts.contains_key(&key.account) => KeyLookup::Secret(key.secret),
                None => KeyLookup::Unknown,
            };
        }
        let Some(token) = session_token else { return KeyLookup::Unknown };
        let Some(opened) = kept.tokens.open(access_key_id, token) else { return KeyLookup::InvalidToken };
        let gone = !self.accounts.contains_key(&opened.record.account)
            || opened.subject(&kept.store.account(&opened.record.account)).is_none();
        match (gone, opened.is_over(now)) {
            (true, _) => KeyLookup::InvalidToken,
            (false, true) => KeyLookup::Expired(Arc::clone(&opened.secret)),
            (false, false) => KeyLookup::Secret(Arc::clone(&opened.secret)),
        }
    }
}
