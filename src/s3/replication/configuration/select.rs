//! Which rules a version is replicated by.

use super::{Filter, Not, Replication, Rule, Switch, Switched, Tag};
use crate::sse::SseKind;
use crate::store::schema::{DestinationState, ReplicationState};

/// What rules look at of a version.
#[derive(Clone, Copy, Debug)]
pub(in crate::s3) struct Candidate<'c> {
    pub key: &'c str,
    pub tags: &'c [(String, String)],
    /// How it is encrypted; `None` for a delete marker.
    pub encryption: Option<SseKind>,
    pub provenance: Provenance,
}

/// How a version came to its bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::s3) enum Provenance {
    /// It was written there.
    Written,
    /// By replication.
    Replica,
    /// By replication; and somebody else changes it now.
    ChangedReplica,
}

impl Replication {
    /// The rules by which a version is replicated: of each destination, the applicable one of the highest priority.
    pub fn applicable(&self, candidate: &Candidate<'_>) -> Vec<&Rule> {
        let mut chosen: Vec<&Rule> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.selects(candidate)) {
            match chosen.iter_mut().find(|other| other.destination.bucket == rule.destination.bucket) {
                Some(other) if rule.priority > other.priority => *other = rule,
                Some(_) => {}
                None => chosen.push(rule),
            }
        }
        chosen.retain(|rule| rule.applies(candidate));
        chosen
    }

    /// The rule by which a change of a version goes to a destination that the version went to by the rule `by`: that one, if it
    /// still says so, or one that does now. Which tags a filter wants is asked when a version is written, and not again.
    pub fn following(&self, destination: &str, by: &str, candidate: &Candidate<'_>) -> Option<&Rule> {
        let stays = |rule: &&Rule| {
            let covers = match (&rule.filter, &rule.prefix) {
                (Some(filter), _) => filter.covers(candidate.key),
                (None, prefix) => prefix.as_ref().is_none_or(|prefix| candidate.key.starts_with(prefix)),
            };
            rule.status == Switch::Enabled && covers && rule.applies(candidate)
        };
        let to = |rule: &&Rule| rule.destination.bucket == destination;
        let same = self.rule(by).filter(to).filter(stays);
        same.or_else(|| self.applicable(candidate).into_iter().find(to))
    }

    /// The rules by which a change of a version is to be carried on, one for each destination: to where the version went, and,
    /// of a replica, to where the bucket's rules want changes of replicas. Of what was written before there was a rule, none.
    pub fn followers(&self, candidate: &Candidate<'_>, state: Option<&ReplicationState>) -> Vec<&Rule> {
        let Some(state) = state else { return Vec::new() };
        let provenance = if state.is_replica { Provenance::ChangedReplica } else { Provenance::Written };
        let candidate = Candidate { provenance, ..*candidate };
        let went = |to: &DestinationState| self.following(&to.bucket, &to.rule, &candidate);
        let mut rules: Vec<&Rule> = state.destinations.iter().filter_map(went).collect();
        if state.is_replica {
            for rule in self.applicable(&candidate) {
                if state.destination(&rule.destination.bucket).is_none() {
                    rules.push(rule);
                }
            }
        }
        rules
    }
}

impl Rule {
    /// Whether its filter is for the version.
    fn selects(&self, candidate: &Candidate<'_>) -> bool {
        self.status == Switch::Enabled
            && match (&self.filter, &self.prefix) {
                (Some(filter), _) => filter.selects(candidate),
                (None, prefix) => prefix.as_ref().is_none_or(|prefix| candidate.key.starts_with(prefix)),
            }
    }

    /// Whether it replicates such a version that it selects.
    fn applies(&self, candidate: &Candidate<'_>) -> bool {
        let criteria = self.source_selection_criteria.as_ref();
        let on = |switched: Option<&Switched>| switched.is_some_and(|switched| switched.status == Switch::Enabled);
        match candidate.provenance {
            Provenance::Written => {}
            Provenance::ChangedReplica if self.wants_modifications() => {}
            Provenance::Replica | Provenance::ChangedReplica => return false,
        }
        match candidate.encryption {
            None => self.replicates_markers(),
            // What a customer's key protects is tried, and fails: only its owner has the key.
            Some(SseKind::S3 | SseKind::Customer) => true,
            Some(SseKind::Kms | SseKind::Dsse) => {
                on(criteria.and_then(|criteria| criteria.sse_kms_encrypted_objects.as_ref()))
            }
        }
    }

    /// Whether it asks that what is changed of replicas be changed at its destination. (S3 user guide, "Replicating metadata
    /// changes with replica modification sync".)
    fn wants_modifications(&self) -> bool {
        let criteria = self.source_selection_criteria.as_ref();
        let asked = criteria.and_then(|criteria| criteria.replica_modifications.as_ref());
        asked.is_some_and(|switched| switched.status == Switch::Enabled)
    }

    /// V1 rules replicate delete markers, V2 rules where they say so.
    fn replicates_markers(&self) -> bool {
        match &self.delete_marker_replication {
            Some(switched) => switched.status == Some(Switch::Enabled),
            None => self.filter.is_none(),
        }
    }
}

impl Filter {
    /// Whether it is for the key, whatever it wants of tags.
    fn covers(&self, key: &str) -> bool {
        let begins = |prefix: &String| key.starts_with(prefix);
        let and = self.and.as_ref();
        let mut nots = self.not.iter().chain(and.and_then(|and| and.not.as_ref()));
        let mut prefixes = self.prefix.iter().chain(and.and_then(|and| and.prefix.as_ref()));
        prefixes.all(begins)
            && !nots.any(|not| not.prefix.iter().chain(not.or.iter().flat_map(|or| &or.prefixes)).any(begins))
    }

    fn selects(&self, candidate: &Candidate<'_>) -> bool {
        let begins = |prefix: &String| candidate.key.starts_with(prefix);
        let (and, not) = (self.and.as_ref(), self.not.as_ref());
        self.prefix.as_ref().is_none_or(begins)
            && self.tag.as_ref().is_none_or(|tag| tag.is_on(candidate))
            && not.is_none_or(|not| !not.covers(candidate))
            && and.is_none_or(|and| {
                and.prefix.as_ref().is_none_or(begins)
                    && and.tags.iter().all(|tag| tag.is_on(candidate))
                    && and.not.as_ref().is_none_or(|not| !not.covers(candidate))
            })
    }
}

impl Not {
    fn covers(&self, candidate: &Candidate<'_>) -> bool {
        let begins = |prefix: &String| candidate.key.starts_with(prefix);
        self.prefix.as_ref().is_some_and(begins)
            || self.tag.as_ref().is_some_and(|tag| tag.is_on(candidate))
            || self
                .or
                .as_ref()
                .is_some_and(|or| or.prefixes.iter().any(begins) || or.tags.iter().any(|tag| tag.is_on(candidate)))
    }
}

impl Tag {
    fn is_on(&self, candidate: &Candidate<'_>) -> bool {
        candidate.tags.iter().any(|(key, value)| *key == self.key && *value == self.value)
    }
}
