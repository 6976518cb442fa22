//! Grants: a key's permissions for principals, beside its policy; the two are evaluated together.
//! (AWS: developer guide, "Grants in AWS KMS".)
//!
//! A grant is to a principal what a statement of the key's policy for that principal would be: what is given to a role is
//! bounded by permissions boundaries and session policies, and of an account's principals those may use what it is given whom
//! their own policies let.
//!
//! A grant token names its grant and no more: it is no secret, and serves as long as the grant is there.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::circumstances::Circumstances;
use super::keyring::{Key, raw_id};
use super::policy::{KeyUse, takes_effect};
use super::records::{GrantRecord, Pairs, grant_key, to_value};
use super::{LocalKms, Need, denied, untold};
use crate::clock::{Timestamp, from_millis};
use crate::crypto::random;
use crate::kms::error::{KmsError, KmsErrorKind};
use crate::kms::spec::GrantOperation;
use crate::kms::{Caller, EncryptionContext, KeyArn, KeyRef, KeySpec};
use crate::policy::{Context, SubjectKind};
use crate::store::Batch;

/// Most grants of one key. (AWS: "Resource quotas".)
const MOST_GRANTS: usize = 50_000;
const TOKEN_VERSION: u8 = 1;

/// Who gets or may retire a grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Grantee {
    /// A principal, by its ARN.
    Principal(String),
    /// A service (`s3.amazonaws.com`).
    Service(String),
}

impl Grantee {
    /// The principal of this name. An account's id by itself stands for the account, as its root's ARN does.
    pub fn principal(name: &str) -> Self {
        Self::Principal(if name.contains(':') { name.to_owned() } else { root_of(name) })
    }
}

/// How a grant names somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum MatchedAs {
    /// By itself.
    Itself,
    /// As a session of its role.
    Role,
    /// As one of its account.
    Account,
}

/// When a grant applies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GrantConstraints {
    /// The encryption context must have these pairs.
    pub subset: Option<EncryptionContext>,
    /// The encryption context must be this.
    pub equals: Option<EncryptionContext>,
    /// The request must be on behalf of this resource.
    pub source_arn: Option<String>,
}

/// What a grant grants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantTerms {
    /// To whom.
    pub grantee: Grantee,
    /// Who may retire it.
    pub retiring: Option<Grantee>,
    /// To do what.
    pub operations: Vec<GrantOperation>,
    /// When.
    pub constraints: GrantConstraints,
    /// A name, to find it again on a retry.
    pub name: Option<String>,
}

impl GrantTerms {
    /// Whether `other` grants the same under the same name: in which order it lists its operations says nothing.
    fn are_those_of(&self, other: &Self) -> bool {
        let Self { grantee, retiring, operations, constraints, name } = self;
        let within = |one: &[GrantOperation], all: &[GrantOperation]| one.iter().all(|it| all.contains(it));
        (grantee, retiring, constraints, name) == (&other.grantee, &other.retiring, &other.constraints, &other.name)
            && within(operations, &other.operations)
            && within(&other.operations, operations)
    }
}

/// A grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// 64 hex digits.
    pub id: String,
    /// The key's full ARN.
    pub key: KeyArn,
    /// When it was made.
    pub created: Timestamp,
    /// The account whose principal made it.
    pub issuer: String,
    /// What it grants.
    pub terms: GrantTerms,
}

/// How RetireGrant names a grant.
#[derive(Clone, Debug)]
pub enum GrantRef {
    /// By its token.
    Token(String),
    /// By its key and id.
    Id(KeyRef, String),
}

impl LocalKms {
    /// Makes a grant, or finds the one of the same name and terms; its id and a token.
    ///
    /// # Errors
    /// `ValidationException` of terms that the key cannot keep, `LimitExceededException`, and as the key's state and
    /// policy say.
    pub async fn create_grant(
        &self,
        caller: &Caller,
        name: &KeyRef,
        terms: GrantTerms,
        dry: bool,
    ) -> Result<(String, String), KmsError> {
        let _changing = self.changing.lock().await;
        let key = self.find(caller, name, "kms:CreateGrant")?;
        // The context that a grant is bound to is what policies are asked about.
        let context = terms.constraints.subset.as_ref().or(terms.constraints.equals.as_ref());
        let key_use = KeyUse { context, ..KeyUse::from("kms:CreateGrant") };
        self.permit(caller, &key, key_use)?;
        key.state(self.clock.now()).allow(Need::Use, key.arn.as_str())?;
        check_terms(&key, &terms)?;
        let grantee_id = self.unique_id(&terms.grantee)?;
        let retiring_id = terms.retiring.as_ref().map_or(Ok(None), |retiring| self.unique_id(retiring))?;
        if !self.is_allowed_by_policy(caller, &key, key_use) {
            self.check_inheritance(caller, &key, &terms)?;
        }
        let of_name = |grant: &GrantRecord| grant.name.is_some() && grant.name == terms.name;
        let of_name = self.select_grants(&key, of_name, GrantRecord::clone);
        if let Some(same) = of_name.iter().find(|grant| self.shown_grant(&key, grant).terms.are_those_of(&terms)) {
            return Ok((same.id.clone(), self.token(&key, &same.id)));
        }
        if self.select_grants(&key, |_| true, |_| ()).len() >= MOST_GRANTS {
            let message = format!("The key {} has the most grants that a key may have.", key.arn);
            return Err(KmsErrorKind::LimitExceeded.with(message));
        }
        let id = hex::encode(random::bytes::<32>(&*self.entropy));
        let token = self.token(&key, &id);
        if dry {
            return Ok((id, token));
        }
        let ids = (grantee_id, retiring_id);
        let record = to_record(&id, &caller.account, self.clock.now(), terms, ids);
        let stored_key = grant_key(&key.record.id, &id);
        self.commit(Batch::new().expect(stored_key.clone(), None).put(stored_key, to_value(&record))).await?;
        self.ring_mut().grants.insert((key.record.id.clone(), id.clone()), record);
        Ok((id, token))
    }

    /// A key's grants in the order of their ids.
    ///
    /// # Errors
    /// As the key's policy says.
    pub fn grants(&self, caller: &Caller, name: &KeyRef) -> Result<Vec<Grant>, KmsError> {
        let key = self.visible(caller, name, "kms:ListGrants")?;
        Ok(self.grants_of(&key))
    }

    /// The grants of all keys, whoever owns them, that `principal` of the caller's account may retire, in the order of
    /// their ids.
    ///
    /// # Errors
    /// `AccessDeniedException` for principals of other accounts, and for services.
    pub fn retirable_grants(&self, caller: &Caller, principal: &Grantee) -> Result<Vec<Grant>, KmsError> {
        let (Grantee::Principal(name) | Grantee::Service(name)) = principal;
        if !matches!(principal, Grantee::Principal(_)) || account_of(name) != Some(caller.account.as_str()) {
            return Err(KmsErrorKind::AccessDenied.with(format!(
                "User: {} is not authorized to perform: kms:ListRetirableGrants on resource: {name}",
                caller.principal
            )));
        }
        let unique_id = self.registry.get().and_then(|registry| registry.id_of(name));
        let is_theirs = |grant: &GrantRecord| match &grant.retiring_id {
            Some(id) => unique_id.as_ref() == Some(id),
            None => matches!(&grant.retiring, Some((retiring, false)) if Grantee::principal(retiring) == *principal),
        };
        let theirs: Vec<(Arc<Key>, GrantRecord)> = {
            let ring = self.ring();
            let theirs = ring.grants.iter().filter(|(_, grant)| is_theirs(grant));
            theirs.filter_map(|((key, _), grant)| Some((ring.keys.get(key)?.clone(), grant.clone()))).collect()
        };
        let mut grants: Vec<Grant> = theirs.iter().map(|(key, grant)| self.shown_grant(key, grant)).collect();
        grants.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(grants)
    }

    /// Ends a grant: by whoever administers the key.
    ///
    /// # Errors
    /// `InvalidGrantIdException`, and as the key's policy says.
    pub async fn revoke_grant(&self, caller: &Caller, name: &KeyRef, id: &str, dry: bool) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let key = self.find(caller, name, "kms:RevokeGrant")?;
        self.permit(caller, &key, "kms:RevokeGrant")?;
        self.end_grant(&key.record.id, id, dry).await
    }

    /// Ends a grant: by the retiring principal, by the grantee if the grant says so, or by the key's account.
    ///
    /// # Errors
    /// `InvalidGrantTokenException`, `InvalidGrantIdException`, `AccessDeniedException`.
    pub async fn retire_grant(&self, caller: &Caller, grant: &GrantRef, dry: bool) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let (key, id) = match grant {
            GrantRef::Id(name, id) => {
                let key = self.find(caller, name, "kms:RetireGrant")?;
                (key.record.id.clone(), id.clone())
            }
            GrantRef::Token(token) => {
                let named = read_token(token).filter(|(key, id)| {
                    let ring = self.ring();
                    ring.grants.contains_key(&(key.clone(), id.clone()))
                });
                named.ok_or_else(|| KmsErrorKind::InvalidGrantToken.with(""))?
            }
        };
        let (owner, found) = {
            let ring = self.ring();
            let owner = ring.keys.get(&key).cloned();
            (owner, ring.grants.get(&(key.clone(), id.clone())).cloned())
        };
        let (Some(owner), Some(found)) = (owner.as_ref(), found) else {
            // Nor is it told to strangers by that there is no such grant of it that there is the key.
            if owner.is_some_and(|owner| owner.record.account != caller.account) {
                return Err(untold(caller, "kms:RetireGrant"));
            }
            return Err(KmsErrorKind::InvalidGrantId.with(""));
        };
        let operations = to_grant(owner, &found).terms.operations;
        let as_grantee = named_grantee(caller, &found).filter(|_| operations.contains(&GrantOperation::RetireGrant));
        let by_name = |named: &MatchedAs| *named != MatchedAs::Account;
        let named = named_retiring(caller, &found).filter(by_name).or(as_grantee.filter(by_name));
        // The key's account and one that may retire the grant leave it to whom their policies let.
        let is_delegate = owner.record.account == caller.account || retiring_account(&found) == Some(&caller.account);
        self.permit_retiring(caller, owner, named.map(|named| (id.as_str(), named)), is_delegate)?;
        caller.witness.see_resource("kms:RetireGrant", owner.arn.as_str());
        caller.witness.note("grantId", id.as_str());
        self.end_grant(&key, &id, dry).await
    }

    async fn end_grant(&self, key: &str, id: &str, dry: bool) -> Result<(), KmsError> {
        let name = (key.to_owned(), id.to_owned());
        let record = self.ring().grants.get(&name).cloned();
        let record = record.ok_or_else(|| KmsErrorKind::InvalidGrantId.with(""))?;
        if dry {
            return Ok(());
        }
        let stored_key = grant_key(key, id);
        let expected = to_value(&record).into();
        self.commit(Batch::new().expect(stored_key.clone(), Some(expected)).delete(stored_key)).await?;
        self.ring_mut().grants.remove(&name);
        Ok(())
    }

    /// Refuses tokens that name no grant. Grants here hold for all requests at once, so that a token adds nothing to them.
    ///
    /// # Errors
    /// `InvalidGrantTokenException`.
    pub fn check_grant_tokens(&self, tokens: &[&str]) -> Result<(), KmsError> {
        let ring = self.ring();
        let is_ours = |token: &&str| read_token(token).is_some_and(|named| ring.grants.contains_key(&named));
        if tokens.iter().all(is_ours) { Ok(()) } else { Err(KmsErrorKind::InvalidGrantToken.with("")) }
    }

    /// The id of the grant that lets `caller` do `action` with an encryption context.
    pub(super) fn grant_for(
        &self,
        (caller, key): (&Caller, &Key),
        action: &str,
        context: Option<&EncryptionContext>,
        circumstances: &dyn Context,
    ) -> Option<String> {
        let operation = action.strip_prefix("kms:").unwrap_or(action);
        let found = self.grants_to(key, caller).into_iter().find(|(grant, named)| {
            let terms = &grant.terms;
            terms.operations.iter().any(|granted| granted.as_str() == operation)
                && (operation == GrantOperation::CreateGrant.as_str() || terms.constraints.hold(context))
                && takes_effect(caller, *named, (key.arn.as_str(), action), circumstances)
        });
        found.map(|(grant, _)| grant.id)
    }

    /// Whoever may make grants by a grant alone can give no more than it gives. (AWS: developer guide, "Granting CreateGrant
    /// permission".)
    fn check_inheritance(&self, caller: &Caller, key: &Key, terms: &GrantTerms) -> Result<(), KmsError> {
        const ACTION: &str = "kms:CreateGrant";
        let circumstances = Circumstances { kms: self, caller, key: Some(key), key_use: ACTION.into() };
        let covers = |(grant, named): &(Grant, MatchedAs)| {
            let by = &grant.terms;
            by.operations.contains(&GrantOperation::CreateGrant)
                && terms.operations.iter().all(|operation| by.operations.contains(operation))
                && by.constraints.cover(&terms.constraints)
                && takes_effect(caller, *named, (key.arn.as_str(), ACTION), &circumstances)
        };
        if self.grants_to(key, caller).iter().any(covers) {
            return Ok(());
        }
        Err(denied(caller, key, ACTION))
    }

    fn grants_of(&self, key: &Key) -> Vec<Grant> {
        let grants = self.select_grants(key, |_| true, GrantRecord::clone);
        grants.iter().map(|grant| self.shown_grant(key, grant)).collect()
    }

    /// The grants of `key` to `caller`, to the role whose session it is, or to its account; and to which of them.
    fn grants_to(&self, key: &Key, caller: &Caller) -> Vec<(Grant, MatchedAs)> {
        let is_named = |grant: &GrantRecord| named_grantee(caller, grant).is_some();
        let to = self.select_grants(key, is_named, |grant| {
            named_grantee(caller, grant).map(|named| (to_grant(key, grant), named))
        });
        to.into_iter().flatten().collect()
    }

    fn select_grants<T>(
        &self,
        key: &Key,
        wanted: impl Fn(&GrantRecord) -> bool,
        taken: impl Fn(&GrantRecord) -> T,
    ) -> Vec<T> {
        let ring = self.ring();
        let start = (key.record.id.clone(), String::new());
        let of_key = ring.grants.range(start..).take_while(|((id, _), _)| *id == key.record.id);
        of_key.filter(|(_, grant)| wanted(grant)).map(|(_, grant)| taken(grant)).collect()
    }

    /// The grant with the names that its principals bear now; of those that are gone, their unique ids.
    fn shown_grant(&self, key: &Key, record: &GrantRecord) -> Grant {
        let mut grant = to_grant(key, record);
        let name = |id: &String| self.registry.get().and_then(|registry| registry.arn_of(id)).unwrap_or(id.clone());
        if let Some(id) = &record.grantee_id {
            grant.terms.grantee = Grantee::Principal(name(id));
        }
        if let Some(id) = &record.retiring_id {
            grant.terms.retiring = Some(Grantee::Principal(name(id)));
        }
        grant
    }

    /// The unique id of a user, a role or a session of an account here.
    ///
    /// # Errors
    /// `InvalidArnException` if the account has none of that name.
    fn unique_id(&self, grantee: &Grantee) -> Result<Option<String>, KmsError> {
        let (Grantee::Principal(name), Some(registry)) = (grantee, self.registry.get()) else { return Ok(None) };
        let resource = name.splitn(6, ':').nth(5).unwrap_or("root");
        // A federated session goes by its name alone, and of other systems' accounts nothing is known.
        if resource == "root" || resource.starts_with("federated-user/") {
            return Ok(None);
        }
        let id = registry.id_of(name);
        if id.is_none() && account_of(name).is_some_and(|account| registry.has_account(account)) {
            return Err(KmsErrorKind::InvalidArn.with(format!("ARN does not refer to a valid principal: {name}")));
        }
        Ok(id)
    }

    fn token(&self, key: &Key, id: &str) -> String {
        let nonce = random::bytes::<16>(&*self.entropy);
        let id = hex::decode(id).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&[TOKEN_VERSION], &key.raw_id[..], &id, &nonce].concat())
    }
}

impl GrantConstraints {
    /// Whether a request with `context` meets them. Operations without a context are not constrained by one. (AWS: API
    /// reference, GrantConstraints.)
    fn hold(&self, context: Option<&EncryptionContext>) -> bool {
        let context_holds = context.is_none_or(|given| {
            self.subset.as_ref().is_none_or(|subset| contains(given, subset))
                && self.equals.as_ref().is_none_or(|equals| contains(given, equals) && contains(equals, given))
        });
        // Nobody asks here on behalf of another service's resource.
        context_holds && self.source_arn.is_none()
    }

    /// Whether `other` are as strict as these, or stricter.
    fn cover(&self, other: &Self) -> bool {
        let pinned = other.equals.as_ref().or(other.subset.as_ref());
        self.subset.as_ref().is_none_or(|subset| pinned.is_some_and(|pinned| contains(pinned, subset)))
            && (self.equals.is_none() || self.equals == other.equals)
            && (self.source_arn.is_none() || self.source_arn == other.source_arn)
    }
}

/// Whether `context` has all pairs of `part`. "In a grant constraint, the key in each key-value pair is not case sensitive,
/// but the value is." (AWS: API reference, GrantConstraints)
fn contains(context: &EncryptionContext, part: &EncryptionContext) -> bool {
    part.pairs().iter().all(|(key, value)| {
        context.pairs().iter().any(|(other, given)| other.eq_ignore_ascii_case(key) && given == value)
    })
}

/// The ids of the key and the grant that a token names.
fn read_token(token: &str) -> Option<(String, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let ([TOKEN_VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
    let (key, rest) = rest.split_first_chunk::<16>()?;
    let (id, nonce) = rest.split_first_chunk::<32>()?;
    let key = uuid::Uuid::from_bytes(*key).to_string();
    (nonce.len() == 16 && raw_id(&key).is_some()).then(|| (key, hex::encode(id)))
}

/// The account of a principal: its ARN's, or the id that it is.
fn account_of(principal: &str) -> Option<&str> {
    if principal.contains(':') { principal.split(':').nth(4) } else { Some(principal) }
}

/// The account that may retire the grant as a whole.
fn retiring_account(grant: &GrantRecord) -> Option<&str> {
    let (name, is_service) = grant.retiring.as_ref()?;
    let account = account_of(name).filter(|account| name == account || *name == root_of(account));
    account.filter(|_| !is_service)
}

/// The ARN of the root of `account`.
fn root_of(account: &str) -> String {
    format!("arn:aws:iam::{account}:root")
}

/// How the grantee names `caller`, if at all.
fn named_grantee(caller: &Caller, grant: &GrantRecord) -> Option<MatchedAs> {
    let to_principal = !grant.grantee_is_service;
    to_principal.then(|| named(caller, &grant.grantee, grant.grantee_id.as_deref())).flatten()
}

/// How the principal that may retire the grant names `caller`, if at all.
fn named_retiring(caller: &Caller, grant: &GrantRecord) -> Option<MatchedAs> {
    let Some((name, false)) = &grant.retiring else { return None };
    named(caller, name, grant.retiring_id.as_deref())
}

/// How the ARN of a principal names `caller`; by its unique id, if that is known.
fn named(caller: &Caller, name: &str, id: Option<&str>) -> Option<MatchedAs> {
    let subject = &caller.subject;
    let whole = root_of(&caller.account);
    let arn = if name == caller.account { whole.as_str() } else { name };
    let (is_itself, is_role) = match id {
        Some(id) => (subject.id == id, subject.has_id(id)),
        None => (caller.principal == arn, matches!(&subject.kind, SubjectKind::Role(role) if role == arn)),
    };
    // Services and those without credentials are of no account.
    let has_account = matches!(subject.kind, SubjectKind::User | SubjectKind::Role(_) | SubjectKind::Federated(_));
    match (is_itself, is_role) {
        (true, _) => Some(MatchedAs::Itself),
        (false, true) => Some(MatchedAs::Role),
        (false, false) => (has_account && id.is_none() && arn == whole).then_some(MatchedAs::Account),
    }
}

fn check_terms(key: &Key, terms: &GrantTerms) -> Result<(), KmsError> {
    let invalid = |message: String| Err(KmsErrorKind::Validation.with(message));
    for operation in &terms.operations {
        if !operation.suits(key.spec, key.usage) {
            let (operation, usage) = (operation.as_str(), key.usage.as_str());
            return invalid(format!("Grant operation {operation} is not valid for a KMS key of usage {usage}."));
        }
    }
    let constrained = terms.constraints.subset.is_some() || terms.constraints.equals.is_some();
    if constrained && key.spec != KeySpec::SymmetricDefault {
        return invalid("Encryption context constraints are valid for symmetric encryption KMS keys only.".to_owned());
    }
    Ok(())
}

/// The record of a grant; `ids` are the unique ones of its grantee and of who may retire it.
fn to_record(
    id: &str,
    issuer: &str,
    now: Timestamp,
    terms: GrantTerms,
    ids: (Option<String>, Option<String>),
) -> GrantRecord {
    let pairs = |context: Option<EncryptionContext>| {
        context.map(|context| context.pairs().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    };
    let split = |grantee: Grantee| match grantee {
        Grantee::Principal(name) => (name, false),
        Grantee::Service(name) => (name, true),
    };
    let (grantee, grantee_is_service) = split(terms.grantee);
    let retiring = terms.retiring.map(split);
    GrantRecord {
        id: id.to_owned(),
        created: now.as_millisecond(),
        issuer: issuer.to_owned(),
        grantee,
        grantee_is_service,
        retiring,
        operations: terms.operations.iter().map(|operation| operation.as_str().to_owned()).collect(),
        subset: pairs(terms.constraints.subset),
        equals: pairs(terms.constraints.equals),
        source_arn: terms.constraints.source_arn,
        name: terms.name,
        grantee_id: ids.0,
        retiring_id: ids.1,
    }
}

fn to_grant(key: &Key, record: &GrantRecord) -> Grant {
    let join = |name: &str, is_service: bool| {
        if is_service { Grantee::Service(name.to_owned()) } else { Grantee::principal(name) }
    };
    let context = |pairs: &Option<Pairs>| pairs.clone().map(EncryptionContext::from_iter);
    Grant {
        id: record.id.clone(),
        key: key.arn.clone(),
        created: from_millis(record.created),
        issuer: record.issuer.clone(),
        terms: GrantTerms {
            grantee: join(&record.grantee, record.grantee_is_service),
            retiring: record.retiring.as_ref().map(|(name, is_service)| join(name, *is_service)),
            operations: record.operations.iter().filter_map(|name| GrantOperation::parse(name)).collect(),
            constraints: GrantConstraints {
                subset: context(&record.subset),
                equals: context(&record.equals),
                source_arn: record.source_arn.clone(),
            },
            name: record.name.clone(),
        },
    }
}
