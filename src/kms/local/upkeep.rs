//! What time makes due: called now and then, at the latest every few minutes.

use std::sync::atomic::Ordering;

use super::LocalKms;
use crate::kms::KeyArn;
use crate::kms::error::KmsError;

/// What [`LocalKms::tend`] has done, and to which keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tended {
    /// Destroyed for good: their deletion was due.
    pub destroyed: Vec<KeyArn>,
    /// Given new material: their rotation was due.
    pub rotated: Vec<KeyArn>,
    /// Rid of imported material that has expired.
    pub expired: Vec<KeyArn>,
}

impl LocalKms {
    /// Destroys keys whose deletion is due, rotates those whose rotation is, removes imported material that has expired,
    /// and writes down when keys were last used. Each is done anew if a crash comes between.
    ///
    /// # Errors
    /// `KeyUnavailableException` if the store fails; what was due stays due.
    pub async fn tend(&self) -> Result<Tended, KmsError> {
        let destroyed = self.destroy_due().await?;
        let expired = self.expire_due().await?;
        let rotated = self.rotate_due().await?;
        if !destroyed.is_empty() {
            self.unwritten_uses.store(true, Ordering::Relaxed);
        }
        self.write_uses().await?;
        Ok(Tended { destroyed, rotated, expired })
    }
}
