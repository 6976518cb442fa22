//! What is to go of the versions of a key, which come by from the newest to the oldest.

use super::calendar::Calendar;
use super::rules::{Rules, Subject};
use super::transition::TransitionClass;
use crate::store::commit::FoundVersion;
use crate::store::schema::{ObjectRecord, ReplicationStatus, Version, VersionId, Versioning};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// The current version expires: it is removed, or gets a delete marker, as the bucket keeps versions.
    Expire { key: String, judged: Box<ObjectRecord> },
    /// A noncurrent version goes.
    Remove { key: String, judged: Version },
    /// A delete marker goes that has no version left behind it.
    Forget { key: String, judged: Version },
    /// A version is to be of another storage class.
    Transition { key: String, judged: Box<ObjectRecord>, class: TransitionClass },
}

impl Action {
    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expire { .. } => "expire_current",
            Self::Remove { .. } => "expire_noncurrent",
            Self::Forget { .. } => "remove_marker",
            Self::Transition { .. } => "transition",
        }
    }
}

/// The judge of a walk over versions.
pub(super) struct Judge<'r> {
    rules: &'r Rules,
    versioning: Versioning,
    calendar: Calendar,
    now: i64,
    /// The key whose versions come by.
    key: String,
    /// Its current version, if that is a delete marker and no other version has come yet.
    lone: Option<Version>,
    /// Of its noncurrent versions, those that have come.
    noncurrent: usize,
    /// When the version that came last was made: since then the next one is noncurrent.
    since: Option<i64>,
}

impl<'r> Judge<'r> {
    /// The judge of a bucket that is in the state `versioning`.
    pub fn new(rules: &'r Rules, versioning: Versioning, calendar: Calendar, now: i64) -> Self {
        Self { rules, versioning, calendar, now, key: String::new(), lone: None, noncurrent: 0, since: None }
    }

    /// Judges what came by; `done` is told the key before, when all of its versions have come.
    pub fn judge(&mut self, found: FoundVersion, actions: &mut Vec<Action>, done: &mut Option<String>) {
        if found.key != self.key {
            let last = self.end_of_key(actions);
            if last.is_some() {
                *done = last;
            }
            self.key.clone_from(&found.key);
        }
        let modified = found.version.modified();
        if found.is_current {
            match found.version {
                Version::Object(object) => self.judge_current(found.key, object, actions),
                marker @ Version::Marker(_) => self.lone = Some(marker),
            }
        } else {
            self.lone = None;
            actions.extend(self.judge_noncurrent(found));
            self.noncurrent += 1;
        }
        self.since = Some(modified);
    }

    /// All versions of the key have come: judges its delete marker, if there was nothing else. The key, if there was one.
    pub fn end_of_key(&mut self, actions: &mut Vec<Action>) -> Option<String> {
        let key = std::mem::take(&mut self.key);
        (self.noncurrent, self.since) = (0, None);
        if let Some(judged) = self.lone.take()
            && let Some(due) = self.rules.end_of_lone_marker(&key, judged.modified(), self.calendar)
            && due.at <= self.now
        {
            actions.push(Action::Forget { key: key.clone(), judged });
        }
        (!key.is_empty()).then_some(key)
    }

    fn judge_current(&self, key: String, object: Box<ObjectRecord>, actions: &mut Vec<Action>) {
        if !is_replicated(&object) {
            return;
        }
        let subject = Subject { key: &key, size: Some(object.size), tags: &object.tags };
        let expires = self.rules.expiry(&subject, object.modified, self.calendar).is_some_and(|due| due.at <= self.now);
        let (current, modified) = (object.attributes.storage_class.as_str(), object.modified);
        let class = self.rules.transition(&subject, current, modified, (self.calendar, self.now));
        // "Permanent deletion takes precedence over transition. Transition takes precedence over creation of delete markers."
        // (S3 user guide, "Lifecycle configuration elements".) What is to be of another class today expires another day.
        let is_kept = match self.versioning {
            Versioning::Never => false,
            Versioning::Enabled => true,
            Versioning::Suspended => object.version_id() != VersionId::Null,
        };
        match class {
            Some(class) if is_kept || !expires => actions.push(Action::Transition { key, judged: object, class }),
            _ if expires => actions.push(Action::Expire { key, judged: object }),
            _ => {}
        }
    }

    fn judge_noncurrent(&self, found: FoundVersion) -> Option<Action> {
        let object = found.version.object();
        if object.is_some_and(|object| !is_replicated(object)) {
            return None;
        }
        let subject = Subject {
            key: &found.key,
            size: object.map(|object| object.size),
            tags: object.map_or(&[], |object| &object.tags),
        };
        // A version is noncurrent since the one before it came.
        let since = self.since.unwrap_or_else(|| found.version.modified());
        let due = self.rules.end_of_noncurrent(&subject, since, self.noncurrent, self.calendar);
        if due.is_some_and(|due| due.at <= self.now) {
            return Some(Action::Remove { judged: found.version, key: found.key });
        }
        let (current, when) = (object?.attributes.storage_class.as_str(), (self.calendar, self.now));
        let class = self.rules.transition_of_noncurrent(&subject, current, (since, self.noncurrent), when)?;
        let Version::Object(judged) = found.version else { return None };
        Some(Action::Transition { key: found.key, judged, class })
    }
}

/// Whether nothing of the version is still to be replicated, nor was given up: else the only copy might go. (S3 user guide,
/// "Lifecycle configuration and replication": expiration and transition wait for it.)
fn is_replicated(object: &ObjectRecord) -> bool {
    let state = object.replication.as_ref();
    state.is_none_or(|state| state.destinations.iter().all(|to| to.status == ReplicationStatus::Completed))
}
