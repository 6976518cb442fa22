//! Key materials under another root key.

use async_trait::async_trait;

use super::LocalKms;
use super::material::label;
use crate::kms::root::RootKey;
use crate::kms::root::rotation::{Reseal, ResealError};

#[async_trait]
impl Reseal for LocalKms {
    fn name(&self) -> &'static str {
        "KMS keys"
    }

    /// Everything here is sealed by whoever holds the lock on changes: who takes it after the root key has changed sees all
    /// that was sealed before.
    async fn reseal(&self, root: &RootKey) -> Result<usize, ResealError> {
        let ids: Vec<String> = {
            let _changing = self.changing.lock().await;
            self.ring().keys.keys().cloned().collect()
        };
        let mut count = 0;
        for id in ids {
            let _changing = self.changing.lock().await;
            let Some(key) = self.ring().keys.get(&id).cloned() else { continue };
            let failed = |error: &dyn std::error::Error| ResealError::new(format!("the KMS key {id}"), error);
            let (mut record, mut changed) = (key.record.clone(), false);
            for material in record.materials.iter_mut().filter(|material| !material.sealed.is_empty()) {
                let fresh =
                    root.reseal(&*self.entropy, &label(&id), &material.sealed).map_err(|error| failed(&error))?;
                if let Some(fresh) = fresh {
                    material.sealed = fresh.into();
                    changed = true;
                }
            }
            if changed {
                self.replace(&key, record).await.map_err(|error| failed(&error))?;
                count += 1;
            }
        }
        Ok(count)
    }
}
