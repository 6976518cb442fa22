//! The rules of a bucket's life cycle, and what they say of an object, a version or an upload.
//! (S3 user guide, "Lifecycle configuration elements" and "Expiring objects".)

use super::calendar::Calendar;
use super::transition::{NoncurrentTransition, Transition, TransitionClass, When};

/// A bucket's life-cycle configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// The rules, in the order in which they came.
    pub rules: Vec<Rule>,
    /// Whether the smallest objects that transitions concern vary by storage class.
    pub varies_by_storage_class: bool,
}

/// A rule. At least one of its actions is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Names it; unique in the bucket.
    pub id: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// What it concerns.
    pub filter: Filter,
    /// What becomes of current versions.
    pub expiration: Option<Expiration>,
    /// What becomes of noncurrent versions.
    pub noncurrent: Option<Noncurrent>,
    /// Days after which uploads that are still open are aborted.
    pub abort_after: Option<u32>,
    /// Which storage classes current versions come to; no two the same.
    pub transitions: Vec<Transition>,
    /// Which storage classes noncurrent versions come to; no two the same.
    pub noncurrent_transitions: Vec<NoncurrentTransition>,
}

/// What a rule concerns: everything that fulfils all that is given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// How it was written.
    pub form: Form,
    /// Keys that begin with this.
    pub prefix: Option<String>,
    /// Objects that have all these tags.
    pub tags: Vec<(String, String)>,
    /// Objects of more bytes than this.
    pub larger_than: Option<u64>,
    /// Objects of fewer bytes than this.
    pub smaller_than: Option<u64>,
}

/// How a filter was written, so that it is shown as it came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// `<Prefix>` beside the rule's other elements: the first version of the configuration.
    BasePrefix,
    /// `<Filter>` with one condition, or none.
    #[default]
    Plain,
    /// `<Filter><And>`.
    And,
}

/// When current versions expire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiration {
    /// So many days after they were written.
    Days(u32),
    /// At a midnight, in milliseconds since the Unix epoch.
    Date(i64),
    /// Never; but if true, delete markers behind which no version is left are removed.
    LoneMarkers(bool),
}

/// When noncurrent versions go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Noncurrent {
    /// So many days after they became noncurrent.
    pub days: u32,
    /// So many of the newest of them stay whatever their age.
    pub keep: Option<u32>,
}

/// What a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The key.
    pub key: &'a str,
    /// Bytes; `None` of a delete marker.
    pub size: Option<u64>,
    /// The tags.
    pub tags: &'a [(String, String)],
}

/// When something is due, and by which rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due<'r> {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// The rule's id.
    pub rule: &'r str,
}

impl Filter {
    /// Whether it lets `key` pass.
    pub fn admits_key(&self, key: &str) -> bool {
        self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
    }

    /// Whether it lets an object pass.
    pub fn admits(&self, subject: &Subject<'_>) -> bool {
        self.admits_key(subject.key)
            && self.larger_than.is_none_or(|bound| subject.size.is_some_and(|size| size > bound))
            && self.smaller_than.is_none_or(|bound| subject.size.is_some_and(|size| size < bound))
            && self.tags.iter().all(|tag| subject.tags.contains(tag))
    }

    /// Whether it looks at nothing but the key: what has neither tags nor a size (delete markers, uploads) passes no other.
    pub fn is_of_keys(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }
}

impl Rules {
    /// When the current version `subject`, written at `modified`, expires.
    pub fn expiry(&self, subject: &Subject<'_>, modified: i64, calendar: Calendar) -> Option<Due<'_>> {
        earliest(self.in_force().filter(|rule| rule.filter.admits(subject)).filter_map(|rule| {
            let at = match rule.expiration? {
                Expiration::Days(days) => calendar.due(modified, days),
                Expiration::Date(date) => date,
                Expiration::LoneMarkers(_) => return None,
            };
            Some(Due { at, rule: &rule.id })
        }))
    }

    /// When a noncurrent version goes that became noncurrent at `since` and has `newer` newer noncurrent ones before it.
    pub fn end_of_noncurrent(
        &self,
        subject: &Subject<'_>,
        since: i64,
        newer: usize,
        calendar: Calendar,
    ) -> Option<Due<'_>> {
        earliest(self.in_force().filter(|rule| rule.filter.admits(subject)).filter_map(|rule| {
            let Noncurrent { days, keep } = rule.noncurrent?;
            let kept = keep.is_some_and(|keep| newer < usize::try_from(keep).unwrap_or(usize::MAX));
            (!kept).then(|| Due { at: calendar.due(since, days), rule: &rule.id })
        }))
    }

    /// Which storage class the current version `subject`, of the class `current` and written at `modified`, is to be of by now.
    pub fn transition(
        &self,
        subject: &Subject<'_>,
        current: &str,
        modified: i64,
        (calendar, now): (Calendar, i64),
    ) -> Option<TransitionClass> {
        let is_due = |when| match when {
            When::Days(days) => calendar.due(modified, days) <= now,
            When::Date(date) => date <= now,
        };
        let due = |rule: &Rule| {
            rule.transitions.iter().filter(|transition| is_due(transition.when)).map(|due| due.class).collect()
        };
        self.coldest(subject, current, due)
    }

    /// The same of a noncurrent version that became noncurrent at `since` and has `newer` newer noncurrent ones before it.
    pub fn transition_of_noncurrent(
        &self,
        subject: &Subject<'_>,
        current: &str,
        (since, newer): (i64, usize),
        (calendar, now): (Calendar, i64),
    ) -> Option<TransitionClass> {
        let is_due = |transition: &&NoncurrentTransition| {
            let kept = transition.keep.is_some_and(|keep| newer < usize::try_from(keep).unwrap_or(usize::MAX));
            !kept && calendar.due(since, transition.days) <= now
        };
        let due = |rule: &Rule| rule.noncurrent_transitions.iter().filter(is_due).map(|due| due.class).collect();
        self.coldest(subject, current, due)
    }

    /// Of the classes that are due, the coldest to which the version may come: what costs least wins.
    /// (S3 user guide, "Lifecycle configuration elements", on conflicts.)
    fn coldest(
        &self,
        subject: &Subject<'_>,
        current: &str,
        due: impl Fn(&Rule) -> Vec<TransitionClass>,
    ) -> Option<TransitionClass> {
        let size = subject.size?;
        let concerned = self.in_force().filter(|rule| rule.filter.admits(subject));
        let classes = concerned.flat_map(|rule| {
            // "Custom filters always take precedence over the default transition behavior."
            let by_size = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
            due(rule).into_iter().filter(move |class| by_size || class.takes(size, self.varies_by_storage_class))
        });
        classes.filter(|class| class.may_follow_named(current)).max()
    }

    /// When the delete marker of `key`, written at `modified` and with no version left behind it, goes: at once where lone
    /// markers are to be removed, else when an object of its age would expire.
    pub fn end_of_lone_marker(&self, key: &str, modified: i64, calendar: Calendar) -> Option<Due<'_>> {
        let concerned = |rule: &&Rule| rule.filter.is_of_keys() && rule.filter.admits_key(key);
        earliest(self.in_force().filter(concerned).filter_map(|rule| {
            let at = match rule.expiration? {
                Expiration::Days(days) => calendar.due(modified, days),
                Expiration::Date(date) => date.max(modified),
                Expiration::LoneMarkers(true) => modified,
                Expiration::LoneMarkers(false) => return None,
            };
            Some(Due { at, rule: &rule.id })
        }))
    }

    /// When an upload of `key` that was begun at `initiated` is aborted.
    pub fn abortion(&self, key: &str, initiated: i64, calendar: Calendar) -> Option<Due<'_>> {
        earliest(
            self.in_force()
                .filter(|rule| rule.filter.admits_key(key))
                .filter_map(|rule| Some(Due { at: calendar.due(initiated, rule.abort_after?), rule: &rule.id })),
        )
    }

    /// The prefixes of all keys that rules in force concern, none of which begins with another.
    pub fn prefixes(&self) -> Vec<&str> {
        let mut prefixes: Vec<&str> =
            self.in_force().map(|rule| rule.filter.prefix.as_deref().unwrap_or_default()).collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|later, earlier| later.starts_with(*earlier));
        prefixes
    }

    /// Whether any rule in force is about open uploads.
    pub fn abort_uploads(&self) -> bool {
        self.in_force().any(|rule| rule.abort_after.is_some())
    }

    /// Whether any rule in force is about objects and their versions.
    pub fn concern_objects(&self) -> bool {
        self.in_force().any(|rule| {
            let transitions = !rule.transitions.is_empty() || !rule.noncurrent_transitions.is_empty();
            rule.expiration.is_some() || rule.noncurrent.is_some() || transitions
        })
    }

    fn in_force(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }
}

/// The earliest; of several, the first rule's.
fn earliest<'r>(dues: impl Iterator<Item = Due<'r>>) -> Option<Due<'r>> {
    dues.min_by_key(|due| due.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn rule(id: &str, filter: Filter) -> Rule {
        Rule {
            id: id.to_owned(),
            enabled: true,
            filter,
            expiration: None,
            noncurrent: None,
            abort_after: None,
            transitions: Vec::new(),
            noncurrent_transitions: Vec::new(),
        }
    }

    fn prefix(prefix: &str) -> Filter {
        Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }
    }

    fn rules(rules: Vec<Rule>) -> Rules {
        Rules { rules, varies_by_storage_class: false }
    }

    fn tag(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    fn subject<'a>(key: &'a str, size: u64, tags: &'a [(String, String)]) -> Subject<'a> {
        Subject { key, size: Some(size), tags }
    }

    #[test]
    fn filters_let_pass_what_fulfils_all_of_them() {
        let filter = Filter {
            form: Form::And,
            prefix: Some("logs/".to_owned()),
            tags: vec![tag("a", "1"), tag("b", "2")],
            larger_than: Some(10),
            smaller_than: Some(20),
        };
        let tags = [tag("b", "2"), tag("a", "1"), tag("c", "3")];
        assert!(filter.admits(&subject("logs/x", 11, &tags)));
        assert!(filter.admits(&subject("logs/x", 19, &tags)));
        assert!(!filter.admits(&subject("logs/x", 10, &tags)), "more than, not at least");
        assert!(!filter.admits(&subject("logs/x", 20, &tags)), "less than, not at most");
        assert!(!filter.admits(&subject("log", 15, &tags)));
        assert!(!filter.admits(&subject("logs/x", 15, &tags[1..])));
        assert!(!filter.is_of_keys());
        assert!(Filter::default().admits(&subject("x", 0, &[])));
    }

    #[test]
    fn the_earliest_rule_in_force_decides() {
        let mut late = rule("late", Filter::default());
        late.expiration = Some(Expiration::Days(9));
        let mut early = rule("early", prefix("a"));
        early.expiration = Some(Expiration::Days(3));
        let mut off = rule("off", Filter::default());
        (off.expiration, off.enabled) = (Some(Expiration::Days(1)), false);
        let rules = rules(vec![late, early, off]);
        let at = |key: &str| rules.expiry(&subject(key, 1, &[]), DAY / 2, Calendar::default());
        assert_eq!(at("a"), Some(Due { at: 4 * DAY, rule: "early" }));
        assert_eq!(at("b"), Some(Due { at: 10 * DAY, rule: "late" }));
    }

    #[test]
    fn dates_are_kept() {
        let mut rule = rule("r", Filter::default());
        rule.expiration = Some(Expiration::Date(5 * DAY));
        let rules = rules(vec![rule]);
        // An object that is written later expires as well.
        for modified in [0, 9 * DAY] {
            let due = rules.expiry(&subject("a", 1, &[]), modified, Calendar::default()).unwrap();
            assert_eq!(due.at, 5 * DAY);
        }
    }

    #[test]
    fn the_newest_noncurrent_versions_stay() {
        let mut rule = rule("r", Filter::default());
        rule.noncurrent = Some(Noncurrent { days: 1, keep: Some(2) });
        let rules = rules(vec![rule]);
        let due = |newer| rules.end_of_noncurrent(&subject("a", 1, &[]), 0, newer, Calendar::default());
        assert_eq!((due(0), due(1)), (None, None));
        assert_eq!(due(2).unwrap().at, 2 * DAY);
    }

    #[test]
    fn lone_markers_go_by_name_or_by_age() {
        let mut by_name = rule("name", prefix("a"));
        by_name.expiration = Some(Expiration::LoneMarkers(true));
        let mut by_age = rule("age", prefix("b"));
        by_age.expiration = Some(Expiration::Days(1));
        let mut tagged = rule("tagged", Filter { tags: vec![tag("k", "v")], ..prefix("c") });
        tagged.expiration = Some(Expiration::Days(1));
        let mut kept = rule("kept", prefix("d"));
        kept.expiration = Some(Expiration::LoneMarkers(false));
        let rules = rules(vec![by_name, by_age, tagged, kept]);
        let due = |key| rules.end_of_lone_marker(key, 7, Calendar::default()).map(|due| due.at);
        assert_eq!(due("a"), Some(7));
        assert_eq!(due("b"), Some(2 * DAY));
        assert_eq!((due("c"), due("d"), due("e")), (None, None, None));
        assert_eq!(rules.expiry(&subject("a", 1, &[]), 0, Calendar::default()), None);
    }

    #[test]
    fn the_coldest_class_that_is_due_wins() {
        use TransitionClass::{Glacier, GlacierIr, OneZoneIa, StandardIa};
        let by_days = |days, class| Transition { when: When::Days(days), class };
        let mut first = rule("first", prefix("a"));
        first.transitions = vec![by_days(30, StandardIa), by_days(90, Glacier)];
        let mut second = rule("second", prefix("a/b"));
        second.transitions = vec![Transition { when: When::Date(40 * DAY), class: GlacierIr }];
        let mut small = rule("small", Filter { smaller_than: Some(10), ..prefix("s") });
        small.transitions = vec![by_days(0, StandardIa)];
        let mut rules = rules(vec![first, second, small]);
        let at = |rules: &Rules, key, size, current: &str, day: i64| {
            rules.transition(&subject(key, size, &[]), current, 1, (Calendar::default(), day * DAY))
        };
        let large = 128 << 10;
        assert_eq!(at(&rules, "a", large, "STANDARD", 30), None);
        assert_eq!(at(&rules, "a", large, "STANDARD", 31), Some(StandardIa));
        assert_eq!(at(&rules, "a", large, "STANDARD_IA", 31), None, "it is there");
        assert_eq!(at(&rules, "a", large, "GLACIER", 31), None, "it is colder");
        assert_eq!(at(&rules, "a", large, "STANDARD_IA", 91), Some(Glacier));
        assert_eq!(at(&rules, "a/b", large, "STANDARD", 40), Some(GlacierIr));
        assert_eq!(at(&rules, "a/b", large, "ONEZONE_IA", 40), None);
        assert_eq!(at(&rules, "a/b", large, "STANDARD", 91), Some(Glacier));
        assert_eq!(at(&rules, "a", large - 1, "STANDARD", 91), None, "it is small");
        assert_eq!(at(&rules, "s", 9, "STANDARD", 1), Some(StandardIa), "the rule says which sizes");
        rules.varies_by_storage_class = true;
        assert_eq!(at(&rules, "a", 1, "STANDARD", 91), Some(Glacier));
        assert_eq!(at(&rules, "a", 1, "STANDARD", 31), None);
        rules.rules[0].enabled = false;
        assert_eq!(at(&rules, "a", large, "STANDARD", 91), None);

        let mut noncurrent = rule("n", Filter::default());
        noncurrent.noncurrent_transitions = vec![NoncurrentTransition { days: 1, keep: Some(2), class: OneZoneIa }];
        let rules = Rules { rules: vec![noncurrent], varies_by_storage_class: false };
        let of = |newer, now| {
            let subject = subject("k", large, &[]);
            rules.transition_of_noncurrent(&subject, "STANDARD", (0, newer), (Calendar::default(), now))
        };
        assert_eq!((of(0, 9 * DAY), of(1, 9 * DAY), of(2, DAY)), (None, None, None));
        assert_eq!(of(2, 2 * DAY), Some(OneZoneIa));
        assert!(rules.concern_objects());
    }

    #[test]
    fn uploads_are_aborted_by_prefix() {
        let mut abort = rule("r", prefix("a/"));
        abort.abort_after = Some(2);
        let rules = rules(vec![abort]);
        assert!(rules.abort_uploads() && !rules.concern_objects());
        assert_eq!(rules.abortion("a/b", 1, Calendar::default()), Some(Due { at: 3 * DAY, rule: "r" }));
        assert_eq!(rules.abortion("b", 1, Calendar::default()), None);
    }

    #[test]
    fn prefixes_cover_each_key_once() {
        let of = |prefixes: &[&str]| rules(prefixes.iter().map(|p| rule(p, prefix(p))).collect());
        assert_eq!(of(&["b/c", "a", "b/", "ab"]).prefixes(), ["a", "b/"]);
        assert_eq!(of(&["a", ""]).prefixes(), [""]);
        assert!(of(&[]).prefixes().is_empty());
    }
}
