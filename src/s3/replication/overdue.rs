//! Replications that wait for longer than their rule wants are told of while they wait, once. (S3 user guide, "Receiving
//! replication failure events": `s3:Replication:OperationMissedThreshold`.)
//!
//! An entry of such a rule says after how many minutes it is due. All lanes are looked through now and then, from where the last
//! look ended: entries stand nearly in the order of their times, so that each is looked at about once. One commit enters the
//! event and takes the entry's mark. *Crash before: it is found again. Crash after: it is not.*

use std::collections::HashMap;
use std::time::Duration;

use super::replicator::{Replicator, Told, is_late};
use crate::events::EventName;
use crate::s3::error::Result;
use crate::store::outbox::{self, Lane, ReplicationRecord, Waiting, WatchRecord};
use crate::store::schema::{Record as _, Table};
use crate::store::{Batch, Outcome, Partition};
use crate::telemetry::outlive;

/// How often the lanes are looked through.
const INTERVAL: Duration = Duration::from_secs(10);
/// Entries that are read at once.
const PAGE: usize = 256;
/// What no entry is due before, in minutes: the one threshold that there is. (`judge`.)
const SOONEST: u32 = 15;

/// Where the last look at a lane ended.
type Cursors = HashMap<(Partition, Lane), u64>;

impl Replicator {
    /// Tells of what is overdue, for ever.
    pub async fn watch_thresholds(&self) {
        let mut cursors = Cursors::new();
        loop {
            if let Some(Err(error)) = outlive("replication", self.tell_overdue(&mut cursors)).await {
                tracing::error!(%error, "overdue replications could not be told of");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn tell_overdue(&self, cursors: &mut Cursors) -> Result<()> {
        let store = &*self.s3.store;
        let mut seen = Cursors::new();
        for (bucket, watch) in outbox::read_watches(store).await? {
            if outbox::read_waiting(store, bucket, Table::Replication).await?.objects == 0 {
                continue;
            }
            for lane in outbox::read_lanes(store, bucket, Table::Replication).await? {
                let mut after = cursors.get(&(bucket, lane)).copied();
                loop {
                    let page = outbox::read_lane::<ReplicationRecord>(store, bucket, lane, after, PAGE).await?;
                    let now = self.s3.clock.now().as_millisecond();
                    let overdue = page.iter().take_while(|waiting| is_past(&waiting.entry, now)).count();
                    for waiting in &page[..overdue] {
                        self.tell_of_overdue(bucket, &watch, waiting).await?;
                        after = Some(waiting.sequence);
                    }
                    if overdue < PAGE {
                        break;
                    }
                }
                seen.extend(after.map(|after| ((bucket, lane), after)));
            }
        }
        // Lanes that are empty are forgotten.
        *cursors = seen;
        Ok(())
    }

    async fn tell_of_overdue(
        &self,
        bucket: Partition,
        watch: &WatchRecord,
        waiting: &Waiting<ReplicationRecord>,
    ) -> Result<()> {
        while let Some(present) = self.s3.store.get(bucket, &waiting.key).await? {
            let entry = ReplicationRecord::from_value(&present)?;
            let Some(threshold) = entry.due else { return Ok(()) };
            let told = ReplicationRecord { due: None, ..entry.clone() };
            let batch =
                Batch::new().expect(waiting.key.clone(), Some(present)).put(waiting.key.clone(), told.to_value());
            let threshold = Some(threshold);
            let missed = Told { threshold, ..Told::of(EventName::ReplicationMissedThreshold) };
            // Whoever carries it out may just have kept how far it is.
            if let Outcome::Applied = self.tell(bucket, watch, &entry, missed, batch).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Whether an entry has been looked at for good by `now`: it is overdue, or will be told of nothing.
fn is_past(entry: &ReplicationRecord, now: i64) -> bool {
    is_late(entry.at, entry.due.unwrap_or(SOONEST), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::outbox::ReplicationAction;

    #[test]
    fn nothing_is_passed_by_before_it_is_due() {
        let entry = |due| ReplicationRecord {
            action: ReplicationAction::Put,
            at: 0,
            destination: "arn:aws:s3:::copies".to_owned(),
            rule: "r".to_owned(),
            key: "k".to_owned(),
            version: "v".to_owned(),
            size: 1,
            progress: None,
            facet: None,
            due,
        };
        for due in [None, Some(15)] {
            assert!(!is_past(&entry(due), 900_000));
            assert!(is_past(&entry(due), 900_001));
        }
    }
}
