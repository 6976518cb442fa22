//! Who may use the keys of a remote key service. That service knows Strongroom alone, not on whose behalf it asks; so the
//! principal that asks is judged here, by one key policy for all keys of the service: the operator's, or the default one,
//! which hands the decision to the service's account. (AWS: developer guide, "Key policies in AWS KMS".)
//!
//! Nothing is asked of the service for whom the policy does not let, where the key's ARN follows from its name. Where it does
//! not (an alias), the key is judged by the ARN that the service answers with, before anything is handed out; and what the
//! service refuses is told to other accounts than its own in the words for a key that they may not use.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::KmsErrorKind;
use super::local::{LocalKms, RemoteKeyUse, default_policy, untold};
use super::{
    Caller, Decrypted, EncryptionContext, GeneratedKey, KeyArn, KeyDescription, KeyRef, Kms, KmsError, Knowledge,
    SharedKms, WrappedKey,
};
use crate::crypto::Secret;
use crate::policy::{Kind, Policy};

/// A key service whose keys are used by those alone whom the policy lets.
pub struct Gated {
    local: Arc<LocalKms>,
    inner: SharedKms,
    account: String,
    policy: Policy,
    /// What it is compiled from.
    text: String,
}

impl Gated {
    /// Judges the callers of `inner`, whose keys belong to `account`, by the key policy that `policy` is the text of, as `local`
    /// judges those of its own.
    ///
    /// # Errors
    /// `MalformedPolicyDocumentException`.
    pub fn shared(
        local: Arc<LocalKms>,
        inner: SharedKms,
        account: String,
        policy: Option<&str>,
    ) -> Result<SharedKms, KmsError> {
        let text = policy.map_or_else(|| default_policy(&account), str::to_owned);
        let policy =
            Policy::parse(&text, Kind::Key).map_err(|error| KmsErrorKind::MalformedPolicyDocument.with(error.0))?;
        Ok(Arc::new(Self { local, inner, account, policy, text }))
    }

    fn judge(
        &self,
        caller: &Caller,
        arn: &str,
        action: &'static str,
        context: Option<&EncryptionContext>,
    ) -> Result<(), KmsError> {
        let key_use = RemoteKeyUse { caller, account: &self.account, arn, action, context };
        self.local.judge_remote(&self.policy, &key_use)
    }

    /// Judges `caller` before anything is asked, where the ARN follows from what the key is called: whether that was so.
    fn before(
        &self,
        caller: &Caller,
        key: &KeyRef,
        action: &'static str,
        context: Option<&EncryptionContext>,
    ) -> Result<bool, KmsError> {
        let arn = match key {
            KeyRef::KeyArn(arn) => Some(arn.clone()),
            key => self.inner.knowledge().arn_of(key),
        };
        arn.map_or(Ok(false), |arn| self.judge(caller, arn.as_str(), action, context).map(|()| true))
    }

    /// What comes of the service's answer about a key, which its ARN is read from.
    fn after<T>(
        &self,
        judged: bool,
        caller: &Caller,
        answer: Result<T, KmsError>,
        (action, context): (&'static str, Option<&EncryptionContext>),
        arn: impl FnOnce(&T) -> &KeyArn,
    ) -> Result<T, KmsError> {
        match answer {
            Ok(answer) if judged => Ok(answer),
            Ok(answer) => self.judge(caller, arn(&answer).as_str(), action, context).map(|()| answer),
            Err(error) if judged || caller.account == self.account || error.kind.is_transient() => Err(error),
            Err(_) => Err(untold(caller, action)),
        }
    }
}

const DECRYPT: &str = "kms:Decrypt";
const ENCRYPT: &str = "kms:Encrypt";
const DESCRIBE: &str = "kms:DescribeKey";
const FROM: &str = "kms:ReEncryptFrom";
const TO: &str = "kms:ReEncryptTo";

#[async_trait]
impl Kms for Gated {
    async fn generate_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<GeneratedKey, KmsError> {
        let judged = self.before(caller, key, caller.wrapping(), Some(context))?;
        let answer = self.inner.generate_data_key(caller, key, context).await;
        self.after(judged, caller, answer, (caller.wrapping(), Some(context)), |generated| &generated.wrapped.key_arn)
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        key: Option<&KeyRef>,
        context: &EncryptionContext,
    ) -> Result<Decrypted, KmsError> {
        let judged = match key {
            Some(key) => self.before(caller, key, DECRYPT, Some(context))?,
            None => false,
        };
        let answer = self.inner.decrypt(caller, blob, key, context).await;
        self.after(judged, caller, answer, (DECRYPT, Some(context)), |decrypted| &decrypted.key_arn)
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let judged = self.before(caller, key, ENCRYPT, Some(context))?;
        let answer = self.inner.encrypt(caller, key, plaintext, context).await;
        self.after(judged, caller, answer, (ENCRYPT, Some(context)), |wrapped| &wrapped.key_arn)
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let judged = self.before(caller, key, caller.wrapping(), Some(context))?;
        let answer = self.inner.wrap_data_key(caller, key, data_key, context).await;
        self.after(judged, caller, answer, (caller.wrapping(), Some(context)), |wrapped| &wrapped.key_arn)
    }

    async fn re_encrypt(
        &self,
        caller: &Caller,
        blob: &[u8],
        from: (Option<&KeyRef>, &EncryptionContext),
        to: (&KeyRef, &EncryptionContext),
    ) -> Result<WrappedKey, KmsError> {
        let Some(source) = from.0 else {
            // Which key it was is known when the blob has been opened.
            let decrypted = self.decrypt(caller, blob, None, from.1).await?;
            return self.encrypt(caller, to.0, decrypted.plaintext.expose(), to.1).await;
        };
        if !self.before(caller, source, FROM, Some(from.1))? {
            let answer = self.inner.describe(caller, source).await;
            self.after(false, caller, answer, (FROM, Some(from.1)), |described| &described.arn)?;
        }
        let judged = self.before(caller, to.0, TO, Some(to.1))?;
        let answer = self.inner.re_encrypt(caller, blob, from, to).await;
        self.after(judged, caller, answer, (TO, Some(to.1)), |wrapped| &wrapped.key_arn)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let judged = self.before(caller, key, DESCRIBE, None)?;
        let answer = self.inner.describe(caller, key).await;
        self.after(judged, caller, answer, (DESCRIBE, None), |described| &described.arn)
    }

    fn knowledge(&self) -> &dyn Knowledge {
        self
    }
}

impl Knowledge for Gated {
    /// The one of all keys of the service.
    fn policy_of(&self, _: &KeyArn) -> Option<String> {
        Some(self.text.clone())
    }

    fn generation_of(&self, key: &KeyRef) -> Option<u64> {
        self.inner.knowledge().generation_of(key)
    }

    fn service_of(&self, key: &KeyRef) -> Option<&str> {
        self.inner.knowledge().service_of(key)
    }

    fn arn_of(&self, key: &KeyRef) -> Option<KeyArn> {
        self.inner.knowledge().arn_of(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::crypto::SharedEntropy;
    use crate::crypto::random::SystemEntropy;
    use crate::kms::local::NewKey;
    use crate::kms::root::RootKey;
    use crate::store::memory::MemoryStore;

    const OWNER: &str = "111122223333";

    async fn embedded() -> Arc<LocalKms> {
        let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        Arc::new(LocalKms::open(store, root, Arc::new(SystemClock), entropy, "us-east-1".to_owned()).await.unwrap())
    }

    #[tokio::test]
    async fn strangers_are_not_told_what_the_service_has() {
        let local = embedded().await;
        let gated = Gated::shared(Arc::clone(&local), local, OWNER.to_owned(), None).unwrap();
        let describe = async |account: &str, name: &str| {
            gated.describe(&Caller::root_of(account, None, "r"), &KeyRef::parse(name)).await.unwrap_err()
        };
        for name in ["alias/none", "00000000-0000-4000-8000-000000000000", "../sys"] {
            assert_eq!(describe(OWNER, name).await.kind, KmsErrorKind::NotFound, "{name}");
            let told = describe("444455556666", name).await;
            assert_eq!(told.kind, KmsErrorKind::AccessDenied, "{name}");
            assert!(told.message.contains("the resource does not exist in this Region"), "{told}");
        }
    }

    #[tokio::test]
    async fn the_policy_that_judges_is_the_one_that_is_told() {
        let local = embedded().await;
        let caller = Caller::root_of(OWNER, None, "r");
        let key = local.create_key(&caller, NewKey::default()).await.unwrap().arn;
        let gated = |policy| {
            let inner = Arc::clone(&local) as SharedKms;
            Gated::shared(Arc::clone(&local), inner, OWNER.to_owned(), policy).unwrap()
        };
        let nobody = r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}"#;
        let closed = gated(Some(nobody));
        assert_eq!(closed.knowledge().policy_of(&key).as_deref(), Some(nobody));
        let refused = closed.describe(&caller, &KeyRef::from(&key)).await.unwrap_err();
        assert_eq!(refused.kind, KmsErrorKind::AccessDenied);
        let open = gated(None);
        assert_eq!(open.knowledge().policy_of(&key), Some(default_policy(OWNER)));
        assert!(open.describe(&caller, &KeyRef::from(&key)).await.unwrap().enabled);
        // The rest is the service's own word.
        let name = KeyRef::from(&key);
        let before = open.knowledge().generation_of(&name);
        assert_eq!((before, open.knowledge().service_of(&name)), (local.generation_of(&name), None));
        local.set_enabled(&caller, &name, false).await.unwrap();
        assert_ne!(open.knowledge().generation_of(&name), before);
    }
}
