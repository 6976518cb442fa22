//! What is to go of the versions of a key, which come by from the newest to the oldest.

use super::calendar::Calendar;
use super::rules::{Rules, Subject};
use super::transition::TransitionClass;
use crate::store::commit::Found;
use crate::store::schema::{ObjectRecord, Version, VersionId};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Deed {
    /// The current version expires: it is removed, or gets a delete marker, as the bucket keeps versions.
    Expire { key: String, judged: Box<ObjectRecord> },
    /// A noncurrent version goes.
    Remove { key: String, id: VersionId },
    /// A delete marker goes that has no version left behind it.
    Forget { key: String, id: VersionId },
    /// A version is to be of another storage class.
    Transition { key: String, judged: Box<ObjectRecord>, class: TransitionClass },
}

impl Deed {
    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expire { .. } => "expire_current",
            Self::Remove { .. } => "expire_noncurrent",
            Self::Forget { .. } => "remove_marker",
            Self::Transition { .. } => "transition",
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Expire { key, .. }
            | Self::Remove { key, .. }
            | Self::Forget { key, .. }
            | Self::Transition { key, .. } => key,
        }
    }
}

/// The judge of a walk over versions.
pub(super) struct Judge<'r> {
    rules: &'r Rules,
    calendar: Calendar,
    now: i64,
    /// The key whose versions come by.
    key: String,
    /// Its current version, if that is a delete marker and no other version has come yet.
    lone: Option<(VersionId, i64)>,
    /// Of its noncurrent versions, those that have come.
    noncurrent: usize,
    /// When the version that came last was made: since then the next one is noncurrent.
    since: Option<i64>,
}

impl<'r> Judge<'r> {
    pub fn new(rules: &'r Rules, calendar: Calendar, now: i64) -> Self {
        Self { rules, calendar, now, key: String::new(), lone: None, noncurrent: 0, since: None }
    }

    /// Judges what came by; `done` is told the key before, when all of its versions have come.
    pub fn judge(&mut self, found: Found, deeds: &mut Vec<Deed>, done: &mut Option<String>) {
        if found.key != self.key {
            let last = self.end_of_key(deeds);
            if last.is_some() {
                *done = last;
            }
            self.key.clone_from(&found.key);
        }
        let modified = found.version.modified();
        if found.is_current {
            match found.version {
                Version::Object(object) => self.judge_current(found.key, object, deeds),
                Version::Marker(_) => self.lone = Some((found.version.id(), modified)),
            }
        } else {
            self.lone = None;
            deeds.extend(self.judge_noncurrent(found));
            self.noncurrent += 1;
        }
        self.since = Some(modified);
    }

    /// All versions of the key have come: judges its delete marker, if there was nothing else. The key, if there was one.
    pub fn end_of_key(&mut self, deeds: &mut Vec<Deed>) -> Option<String> {
        let key = std::mem::take(&mut self.key);
        (self.noncurrent, self.since) = (0, None);
        if let Some((id, modified)) = self.lone.take()
            && self.rules.end_of_lone_marker(&key, modified, self.calendar).is_some_and(|due| due.at <= self.now)
        {
            deeds.push(Deed::Forget { key: key.clone(), id });
        }
        (!key.is_empty()).then_some(key)
    }

    fn judge_current(&self, key: String, object: Box<ObjectRecord>, deeds: &mut Vec<Deed>) {
        let subject = Subject { key: &key, size: Some(object.size), tags: &object.tags };
        if self.rules.expiry(&subject, object.modified, self.calendar).is_some_and(|due| due.at <= self.now) {
            deeds.push(Deed::Expire { key, judged: object });
            return;
        }
        let (current, modified) = (object.attributes.storage_class.as_str(), object.modified);
        if let Some(class) = self.rules.transition(&subject, current, modified, (self.calendar, self.now)) {
            deeds.push(Deed::Transition { key, judged: object, class });
        }
    }

    fn judge_noncurrent(&self, found: Found) -> Option<Deed> {
        let object = found.version.object();
        let subject = Subject {
            key: &found.key,
            size: object.map(|object| object.size),
            tags: object.map_or(&[], |object| &object.tags),
        };
        // A version is noncurrent since the one before it came.
        let since = self.since.unwrap_or_else(|| found.version.modified());
        let due = self.rules.end_of_noncurrent(&subject, since, self.noncurrent, self.calendar);
        if due.is_some_and(|due| due.at <= self.now) {
            return Some(Deed::Remove { id: found.version.id(), key: found.key });
        }
        let (current, when) = (object?.attributes.storage_class.as_str(), (self.calendar, self.now));
        let class = self.rules.transition_of_noncurrent(&subject, current, (since, self.noncurrent), when)?;
        let Version::Object(judged) = found.version else { return None };
        Some(Deed::Transition { key: found.key, judged, class })
    }
}
