//! What is stored of a report: how far it is, and what of it is delivered.

use minicbor::{Decode, Encode};

use super::document::Frequency;
use super::manifest::DataFile;
use crate::crypto::random;
use crate::jobs::lifecycle::Calendar;
use crate::store::schema::Record;

/// The last report of a configuration, at work or ended.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct Report {
    /// When it was begun, in milliseconds since the Unix epoch.
    #[n(0)]
    pub begun: i64,
    /// When the configuration that it goes by was put.
    #[n(1)]
    pub configured: i64,
    /// What its data files are named by, so that one that is delivered twice is delivered to the same place.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// The last version that is in a delivered file.
    #[n(3)]
    pub after: Option<Mark>,
    /// The data files that are delivered.
    #[n(4)]
    pub files: Vec<DataFile>,
    /// How it ended, if it has.
    #[n(5)]
    pub end: Option<End>,
}

/// A version, or a whole key.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct Mark {
    /// The key.
    #[n(0)]
    pub key: String,
    /// Where the version stands among those of its key; `None`: behind all of them.
    #[n(1)]
    pub order: Option<u64>,
}

/// The end of a report.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(super) struct End {
    /// When, in milliseconds since the Unix epoch.
    #[n(0)]
    pub at: i64,
    /// Why it failed, if it did.
    #[n(1)]
    pub error: Option<String>,
}

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Nothing yet.
    Wait,
    /// To go on with the report.
    Resume(Report),
    /// To begin one.
    Begin,
}

impl Report {
    pub fn begin(now: i64, configured: i64, id: [u8; 16]) -> Self {
        Self { begun: now, configured, id, after: None, files: Vec::new(), end: None }
    }

    /// The name of the next data file: a UUID by its looks.
    pub fn next_name(&self) -> String {
        let mut bytes = self.id;
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        for (byte, add) in bytes[12..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= add;
        }
        random::uuid(bytes)
    }
}

/// What is to be done at `now` where the last report was `last` and the configuration was put at `configured`.
pub(super) fn next(last: Option<Report>, frequency: Frequency, configured: i64, now: i64, calendar: Calendar) -> Next {
    let Some(report) = last else { return Next::Begin };
    let from = match frequency {
        Frequency::Daily => calendar.midnight_before(now),
        Frequency::Weekly => calendar.sunday_before(now),
    };
    // One that was begun when the clock was ahead is none of this day, or week.
    let is_of_today = |report: &Report| (from..=now).contains(&report.begun);
    match &report.end {
        None | Some(End { error: Some(_), .. }) if report.configured != configured => Next::Begin,
        None => Next::Resume(report),
        // What keeps a report from being delivered is mostly a policy, which somebody may be mending.
        Some(End { at, error: Some(_) }) if (now.saturating_sub(calendar.day() / 24)..=now).contains(at) => Next::Wait,
        // What is delivered of it stays its own. The report of another day takes its place, file by file.
        Some(End { error: Some(_), .. }) if is_of_today(&report) => Next::Resume(Report { end: None, ..report }),
        Some(End { error: Some(_), .. }) => Next::Resume(Report::begin(now, configured, report.id)),
        Some(_) if is_of_today(&report) => Next::Wait,
        Some(_) => Next::Begin,
    }
}

impl Record for Report {
    const NAME: &'static str = "inventory report";
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn report() -> Report {
        Report {
            after: Some(Mark { key: "k".to_owned(), order: Some(7) }),
            files: vec![DataFile { key: "p/data/u.csv.gz".to_owned(), size: 9, md5: "ff".to_owned() }],
            end: Some(End { at: 1_700_000_000_001, error: Some("AccessDenied".to_owned()) }),
            ..Report::begin(1_700_000_000_000, 5, [3; 16])
        }
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema/inventory-report.bin");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, report().to_value()).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(Report::from_value(&golden).unwrap(), report());
        assert_eq!(report().to_value(), golden);
    }

    #[test]
    fn data_files_have_names_of_their_own_that_come_again() {
        let mut report = Report::begin(0, 0, [9; 16]);
        let first = report.next_name();
        assert_eq!(first, report.next_name());
        report.files.push(DataFile { key: String::new(), size: 0, md5: String::new() });
        assert_ne!(first, report.next_name());
        assert_eq!(first.len(), 36);
    }

    #[test]
    fn reports_are_made_by_the_calendar() {
        let ask = |last: Option<Report>, frequency, now| next(last, frequency, 5, now, Calendar::default());
        let ended = |begun: i64| {
            Some(Report { end: Some(End { at: begun + 1, error: None }), ..Report::begin(begun, 5, [0; 16]) })
        };
        assert_eq!(ask(None, Frequency::Weekly, 0), Next::Begin, "the first comes at once");
        assert_eq!(ask(ended(DAY + 5), Frequency::Daily, 2 * DAY - 1), Next::Wait);
        assert_eq!(ask(ended(DAY + 5), Frequency::Daily, 2 * DAY), Next::Begin);
        assert_eq!(ask(ended(DAY + 5), Frequency::Weekly, 2 * DAY), Next::Wait);
        assert_eq!(
            ask(ended(DAY + 5), Frequency::Weekly, 3 * DAY),
            Next::Begin,
            "the fourth of January 1970, a Sunday"
        );
        assert_eq!(ask(ended(9 * DAY), Frequency::Daily, 2 * DAY), Next::Begin, "the clock was ahead");
        assert_eq!(ask(ended(9 * DAY), Frequency::Weekly, 2 * DAY), Next::Begin);
        let open = Report::begin(0, 5, [0; 16]);
        assert_eq!(ask(Some(open.clone()), Frequency::Daily, 9 * DAY), Next::Resume(open.clone()));
        assert_eq!(next(Some(open), Frequency::Daily, 6, 9, Calendar::default()), Next::Begin);
    }

    #[test]
    fn a_report_that_failed_is_gone_on_with_and_one_of_another_day_takes_its_files_places() {
        let ask = |last: &Report, configured, now| {
            next(Some(last.clone()), Frequency::Daily, configured, now, Calendar::default())
        };
        let open = Report { end: None, configured: 5, begun: 0, ..report() };
        let failed = Report { end: Some(End { at: 7, error: Some(String::new()) }), ..open.clone() };
        assert_eq!(ask(&failed, 5, 8), Next::Wait);
        assert_eq!(ask(&failed, 5, DAY / 12), Next::Resume(open.clone()), "with what is delivered of it");
        assert_eq!(ask(&failed, 5, 6), Next::Resume(open), "the clock was ahead");
        assert_eq!(ask(&failed, 6, 8), Next::Begin, "by another configuration");
        assert_eq!(ask(&failed, 5, DAY), Next::Resume(Report::begin(DAY, 5, failed.id)));
    }
}
