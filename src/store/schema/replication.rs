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

    /// How far it is with a destination, if it has to do with it.
    pub fn status(&self, bucket: &str) -> Option<ReplicationStatus> {
        self.destinations.iter().find(|destination| destination.bucket == bucket).map(|found| found.status)
    }

    /// Notes how far it is with a destination.
    pub fn note(&mut self, bucket: &str, status: ReplicationStatus) {
        for destination in self.destinations.iter_mut().filter(|destination| destination.bucket == bucket) {
            destination.status = status;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_all_destinations() {
        let destination = |bucket: &str| DestinationState {
            bucket: bucket.to_owned(),
            rule: "r".to_owned(),
            status: ReplicationStatus::Pending,
        };
        let mut state = ReplicationState { is_replica: false, destinations: vec![destination("a"), destination("b")] };
        assert_eq!(state.as_str(), "PENDING");
        state.note("a", ReplicationStatus::Completed);
        assert_eq!(state.as_str(), "PENDING");
        state.note("b", ReplicationStatus::Completed);
        assert_eq!(state.as_str(), "COMPLETED");
        state.note("b", ReplicationStatus::Failed);
        assert_eq!(state.as_str(), "FAILED");
        assert_eq!(ReplicationState::REPLICA.as_str(), "REPLICA");
    }
}
