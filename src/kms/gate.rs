//! Who may use the keys of a remote key service. That service knows Strongroom alone, not on whose behalf it asks; so the
//! principal that asks is judged here, by one key policy for all keys of the service: the operator's, or the default one,
//! which hands the decision to the service's account. (AWS: developer guide, "Key policies in AWS KMS".)
//!
//! A key that is named in a way from which its ARN does not follow (an alias) is judged by the ARN that the service answers
//! with, before anything is handed out.

use std::sync::Arc;

use async_trait::async_trait;

use super::error::KmsErrorKind;
use super::local::{LocalKms, RemoteDeed, default_policy};
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
        let deed = RemoteDeed { caller, account: &self.account, arn, action, context };
        self.local.judge_remote(&self.policy, &deed)
    }

    /// Judges `caller` before anything is asked, where the key is named by its ARN: whether that was so.
    fn before(
        &self,
        caller: &Caller,
        key: &KeyRef,
        action: &'static str,
        context: Option<&EncryptionContext>,
    ) -> Result<bool, KmsError> {
        match key {
            KeyRef::KeyArn(arn) => self.judge(caller, arn.as_str(), action, context).map(|()| true),
            _ => Ok(false),
        }
    }

    fn after(
        &self,
        judged: bool,
        caller: &Caller,
        arn: &KeyArn,
        action: &'static str,
        context: Option<&EncryptionContext>,
    ) -> Result<(), KmsError> {
        if judged { Ok(()) } else { self.judge(caller, arn.as_str(), action, context) }
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
        let generated = self.inner.generate_data_key(caller, key, context).await?;
        self.after(judged, caller, &generated.wrapped.key_arn, caller.wrapping(), Some(context))?;
        Ok(generated)
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
        let decrypted = self.inner.decrypt(caller, blob, key, context).await?;
        self.after(judged, caller, &decrypted.key_arn, DECRYPT, Some(context))?;
        Ok(decrypted)
    }

    async fn encrypt(
        &self,
        caller: &Caller,
        key: &KeyRef,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let judged = self.before(caller, key, ENCRYPT, Some(context))?;
        let wrapped = self.inner.encrypt(caller, key, plaintext, context).await?;
        self.after(judged, caller, &wrapped.key_arn, ENCRYPT, Some(context))?;
        Ok(wrapped)
    }

    async fn wrap_data_key(
        &self,
        caller: &Caller,
        key: &KeyRef,
        data_key: &Secret<32>,
        context: &EncryptionContext,
    ) -> Result<WrappedKey, KmsError> {
        let judged = self.before(caller, key, caller.wrapping(), Some(context))?;
        let wrapped = self.inner.wrap_data_key(caller, key, data_key, context).await?;
        self.after(judged, caller, &wrapped.key_arn, caller.wrapping(), Some(context))?;
        Ok(wrapped)
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
            let arn = self.inner.describe(caller, source).await?.arn;
            self.judge(caller, arn.as_str(), FROM, Some(from.1))?;
        }
        let judged = self.before(caller, to.0, TO, Some(to.1))?;
        let wrapped = self.inner.re_encrypt(caller, blob, from, to).await?;
        self.after(judged, caller, &wrapped.key_arn, TO, Some(to.1))?;
        Ok(wrapped)
    }

    async fn describe(&self, caller: &Caller, key: &KeyRef) -> Result<KeyDescription, KmsError> {
        let judged = self.before(caller, key, DESCRIBE, None)?;
        let described = self.inner.describe(caller, key).await?;
        self.after(judged, caller, &described.arn, DESCRIBE, None)?;
        Ok(described)
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

    #[tokio::test]
    async fn the_policy_that_judges_is_the_one_that_is_told() {
        let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
        let store = Arc::new(MemoryStore::new(Arc::clone(&entropy)));
        let root = Arc::new(RootKey::parse(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap());
        let local = LocalKms::open(store, root, Arc::new(SystemClock), entropy, "us-east-1".to_owned()).await.unwrap();
        let local = Arc::new(local);
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
