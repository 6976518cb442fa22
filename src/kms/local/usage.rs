//! When a key was last used, for what, by which request, and which event tells of it (`GetKeyLastUsage`).
//!
//! Each successful use is noted in memory, and all that were noted are written down together by
//! [`LocalKms::write_uses`], each second while there are any and when the server stops. *A crash loses the notes of the last
//! second, never a key's use itself*; AWS's own answer lags by more.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::LocalKms;
use super::records::{UsageRecord, to_value, usage_key};
use crate::clock::{Timestamp, from_millis};
use crate::kms::error::KmsError;
use crate::kms::{Caller, KeyArn, KeyRef};
use crate::store::Batch;

/// Uses written in one commit.
const PAGE: usize = 500;

/// The last use of each key, and whether it was written down.
pub(super) type LastUses = Mutex<HashMap<String, (UsageRecord, Written)>>;

/// What the store holds of a last use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    Yes,
    NotYet,
}

/// What GetKeyLastUsage answers.
#[derive(Clone, Debug)]
pub struct KeyLastUsage {
    /// The key's full ARN.
    pub arn: KeyArn,
    /// When it was made, and tracking began.
    pub created: Timestamp,
    /// If it was ever used.
    pub last: Option<LastUse>,
}

/// What it was last used for.
#[derive(Clone, Debug)]
pub struct LastUse {
    /// AWS's name of the operation.
    pub operation: String,
    /// When.
    pub at: Timestamp,
    /// The request's id.
    pub request_id: String,
    /// The id of the audit's event, if there was one.
    pub event_id: Option<String>,
}

impl LocalKms {
    /// Notes that `operation` has succeeded with a key.
    pub fn used(&self, arn: &KeyArn, operation: &'static str, caller: &Caller) {
        let record = UsageRecord {
            operation: operation.to_owned(),
            at: self.clock.now().as_millisecond(),
            request_id: caller.request_id.clone(),
            event_id: caller.event_id.clone(),
        };
        let mut uses = self.last_uses.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(arn.id()) {
            Some(last) => *last = (record, Written::NotYet),
            None => drop(uses.insert(arn.id().to_owned(), (record, Written::NotYet))),
        }
        self.unwritten_uses.store(true, Ordering::Relaxed);
    }

    /// A key's last use.
    ///
    /// # Errors
    /// `NotFoundException`, `AccessDeniedException`.
    pub fn last_usage(&self, caller: &Caller, name: &KeyRef) -> Result<KeyLastUsage, KmsError> {
        let key = self.visible(caller, name, "kms:GetKeyLastUsage")?;
        let uses = self.last_uses.lock().unwrap_or_else(PoisonError::into_inner);
        let last = uses.get(&key.record.id).map(|(record, _)| LastUse {
            operation: record.operation.clone(),
            at: from_millis(record.at),
            request_id: record.request_id.clone(),
            event_id: record.event_id.clone(),
        });
        Ok(KeyLastUsage { arn: key.arn.clone(), created: from_millis(key.record.created), last })
    }

    /// Writes down the uses that are not yet, and forgets those of keys that are gone.
    ///
    /// # Errors
    /// `KeyUnavailableException` if the store fails; they are then written at the next call.
    pub async fn write_uses(&self) -> Result<(), KmsError> {
        if !self.unwritten_uses.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let written = self.write_noted_uses().await;
        if written.is_err() {
            self.unwritten_uses.store(true, Ordering::Relaxed);
        }
        written
    }

    async fn write_noted_uses(&self) -> Result<(), KmsError> {
        let _changing = self.changing.lock().await;
        let fresh: Vec<(String, UsageRecord)> = {
            let ring = self.ring();
            let mut uses = self.last_uses.lock().unwrap_or_else(PoisonError::into_inner);
            uses.retain(|key, _| ring.keys.contains_key(key));
            let fresh = uses.iter().filter(|(_, (_, written))| *written == Written::NotYet);
            fresh.map(|(key, (record, _))| (key.clone(), record.clone())).collect()
        };
        for page in fresh.chunks(PAGE) {
            let batch = page
                .iter()
                .fold(Batch::new(), |batch, (key, record)| batch.put(usage_key(key), Bytes::from(to_value(record))));
            self.commit(batch).await?;
            let mut uses = self.last_uses.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, record) in page {
                if let Some(last) = uses.get_mut(key).filter(|(last, _)| last == record) {
                    last.1 = Written::Yes;
                }
            }
        }
        Ok(())
    }
}
