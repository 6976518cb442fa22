//! Where a version stands in replication.

use minicbor::{Decode, Encode};

/// Of a version: that it is to be, or was, replicated, or that it is a replica itself.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct ReplicationState {
    /// Whether it came by replication.
    #[n(0)]
    pub is_replica: bool,
    /// The destinations, in the order of the rules.
    #[n(1)]
    pub destinations: Vec<DestinationState>,
}

/// Of a version and one destination.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(array)]
pub struct DestinationState {
    /// The destination bucket's ARN.
    #[n(0)]
    pub bucket: String,
    /// The id of the rule.
    #[n(1)]
    pub rule: String,
    /// How far it is.
    #[n(2)]
    pub status: ReplicationStatus,
    /// Where a change of the version waits: its number. Entries of the outbox that were numbered before it do not tell how far
    /// the version is.
    #[n(3)]
    pub since: Option<u64>,
    /// What was changed and given up: it goes along with what is changed next.
    #[n(4)]
    #[cbor(skip_if = "Vec::is_empty")]
    pub lapsed: Vec<Facet>,
    /// The replica's version id, where it is not that of the source.
    #[n(5)]
    pub replica: Option<String>,
}

/// What of a version can be changed where it is, and is replicated. A closed set: a stored number.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum Facet {
    /// Its tags.
    #[n(0)]
    Tags,
    /// Its access control list.
    #[n(1)]
    Acl,
    /// Its retention.
    #[n(2)]
    Retention,
    /// Its legal hold.
    #[n(3)]
    LegalHold,
}

/// How an entry of the outbox ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended<'e> {
    /// The version is at the destination, under this id if not under its own.
    Written(Option<&'e str>),
    /// The version is not at the destination, and will not be.
    NotWritten,
    /// The replica has what the version has, save of these.
    Changed(&'e [Facet]),
    /// This was not even tried.
    NotChanged(Facet),
}

/// How far a replication is. A closed set: a stored number.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum ReplicationStatus {
    /// It waits, or is under way.
    #[n(0)]
    Pending,
    /// The replica is there.
    #[n(1)]
    Completed,
    /// It was given up.
    #[n(2)]
    Failed,
}

impl DestinationState {
    /// Of a version that waits to be replicated to the bucket with this ARN, as the rule `rule` asks for.
    pub fn pending(bucket: &str, rule: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            rule: rule.to_owned(),
            status: ReplicationStatus::Pending,
            since: None,
            lapsed: Vec::new(),
            replica: None,
        }
    }
}

impl ReplicationState {
    /// A replica's.
    pub const REPLICA: Self = Self { is_replica: true, destinations: Vec::new() };

    /// As `x-amz-replication-status` has it. (S3 user guide, "Getting replication status information".)
    pub fn as_str(&self) -> &'static str {
        let any = |status| self.destinations.iter().any(|destination| destination.status == status);
        if any(ReplicationStatus::Failed) {
            "FAILED"
        } else if any(ReplicationStatus::Pending) {
            "PENDING"
        } else if self.is_replica {
            "REPLICA"
        } else {
            "COMPLETED"
        }
    }

    /// Where it stands with a destination, if it has to do with it.
    pub fn destination(&self, bucket: &str) -> Option<&DestinationState> {
        self.destinations.iter().find(|destination| destination.bucket == bucket)
    }

    /// How far it is with a destination, if it has to do with it.
    pub fn status(&self, bucket: &str) -> Option<ReplicationStatus> {
        self.destination(bucket).map(|found| found.status)
    }

    /// Notes that it waits to be replicated to a destination; `since`: the number of its change, if that is what waits.
    pub fn wait(&mut self, bucket: &str, rule: &str, since: Option<u64>) {
        match self.destinations.iter_mut().find(|destination| destination.bucket == bucket) {
            Some(destination) => {
                rule.clone_into(&mut destination.rule);
                (destination.status, destination.since) = (ReplicationStatus::Pending, since);
            }
            None => self.destinations.push(DestinationState { since, ..DestinationState::pending(bucket, rule) }),
        }
    }

    /// Notes how the entry of the outbox with the number `sequence` ended, for a destination. What was changed after that was
    /// entered still waits.
    pub fn note(&mut self, bucket: &str, sequence: u64, ended: Ended<'_>) {
        let Some(destination) = self.destinations.iter_mut().find(|destination| destination.bucket == bucket) else {
            return;
        };
        match ended {
            Ended::Written(replica) => {
                destination.lapsed.clear();
                destination.replica = replica.map(str::to_owned);
            }
            Ended::Changed(behind) => destination.lapsed = behind.to_vec(),
            Ended::NotChanged(facet) if !destination.lapsed.contains(&facet) => destination.lapsed.push(facet),
            Ended::NotChanged(_) | Ended::NotWritten => {}
        }
        if destination.since.is_none_or(|since| since < sequence) {
            destination.status = match ended {
                Ended::Written(_) | Ended::Changed([]) => ReplicationStatus::Completed,
                Ended::NotWritten | Ended::Changed(_) | Ended::NotChanged(_) => ReplicationStatus::Failed,
            };
            destination.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(buckets: &[&str]) -> ReplicationState {
        let destinations = buckets.iter().map(|bucket| DestinationState::pending(bucket, "r")).collect();
        ReplicationState { is_replica: false, destinations }
    }

    #[test]
    fn the_status_is_that_of_all_destinations() {
        let mut state = state(&["a", "b"]);
        assert_eq!(state.as_str(), "PENDING");
        state.note("a", 1, Ended::Written(None));
        assert_eq!(state.as_str(), "PENDING");
        state.note("b", 1, Ended::Written(None));
        assert_eq!(state.as_str(), "COMPLETED");
        state.note("b", 1, Ended::NotWritten);
        assert_eq!(state.as_str(), "FAILED");
        state.note("c", 1, Ended::NotWritten);
        assert_eq!(ReplicationState::REPLICA.as_str(), "REPLICA");
    }

    #[test]
    fn a_version_waits_until_its_last_change_is_there() {
        let mut state = state(&["a"]);
        state.wait("a", "r", Some(20));
        state.note("a", 10, Ended::Written(Some("v")));
        assert_eq!(state.as_str(), "PENDING", "the change is still to come");
        state.wait("a", "s", Some(30));
        for _ in 0..2 {
            state.note("a", 21, Ended::NotChanged(Facet::Tags));
        }
        assert_eq!(state.as_str(), "PENDING");
        let destination = state.destination("a").unwrap();
        assert_eq!((destination.rule.as_str(), destination.replica.as_deref()), ("s", Some("v")));
        assert_eq!(destination.lapsed, [Facet::Tags]);
        state.note("a", 31, Ended::Changed(&[]));
        assert_eq!(state.as_str(), "COMPLETED");
        let destination = state.destination("a").unwrap();
        assert!(destination.lapsed.is_empty() && destination.since.is_none());
        assert_eq!(destination.replica.as_deref(), Some("v"));
        state.note("a", 31, Ended::Changed(&[Facet::Acl]));
        assert_eq!((state.as_str(), &state.destinations[0].lapsed[..]), ("FAILED", &[Facet::Acl][..]));
    }

    #[test]
    fn a_replica_that_is_changed_waits_as_others_do() {
        let mut state = ReplicationState::REPLICA;
        state.wait("a", "r", Some(1));
        assert_eq!(state.as_str(), "PENDING");
        state.note("a", 2, Ended::Changed(&[]));
        assert_eq!(state.as_str(), "REPLICA");
        state.note("a", 2, Ended::NotChanged(Facet::LegalHold));
        assert_eq!(state.as_str(), "FAILED");
    }
}
