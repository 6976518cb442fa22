//! The transitions of a life-cycle rule: read with AWS's checks and texts, and written as they came.
//! (API reference, `Transition` and `NoncurrentVersionTransition`; S3 user guide, "Transitioning objects using Amazon S3 Lifecycle".)

use serde::Deserialize;

use super::document::{describe, midnight, read_kept_versions};
use crate::clock::{from_millis, iso8601_seconds};
use crate::jobs::lifecycle::{Expiration, Filter, NoncurrentTransition, Rule, Transition, TransitionClass, When};
use crate::s3::error::{ErrorCode, Result, S3Error};
use crate::s3::xml::XmlWriter;

/// The action of current versions, and of noncurrent ones.
const CURRENT: &str = "Transition";
const NONCURRENT: &str = "NoncurrentVersionTransition";
/// Days that an object must have been there, or of the class before, to be of a class of infrequent access or leave it.
const LEAST_DAYS: u32 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct TransitionElement {
    days: Option<i64>,
    noncurrent_days: Option<i64>,
    date: Option<String>,
    storage_class: Option<String>,
    newer_noncurrent_versions: Option<i64>,
}

impl TransitionElement {
    fn class(&self) -> Result<TransitionClass> {
        let class = self.storage_class.as_deref().and_then(TransitionClass::parse);
        class.ok_or_else(|| ErrorCode::MalformedXml.into())
    }
}

/// Reads the transitions of current versions, in a rule with this filter.
pub(super) fn read(elements: &[TransitionElement], filter: &Filter) -> Result<Vec<Transition>> {
    let mut transitions = Vec::with_capacity(elements.len());
    for element in elements {
        let class = element.class()?;
        let when = match element {
            TransitionElement {
                days: Some(days),
                date: None,
                noncurrent_days: None,
                newer_noncurrent_versions: None,
                ..
            } => When::Days(read_days("Days", CURRENT, *days, class)?),
            TransitionElement {
                days: None,
                date: Some(date),
                noncurrent_days: None,
                newer_noncurrent_versions: None,
                ..
            } => When::Date(midnight(date)?),
            _ => return Err(ErrorCode::MalformedXml.into()),
        };
        transitions.push(Transition { when, class });
    }
    check_classes(CURRENT, transitions.iter().map(|transition| transition.class), filter)?;
    let by_date = |transition: &Transition| matches!(transition.when, When::Date(_));
    if transitions.iter().any(by_date) && !transitions.iter().all(by_date) {
        let what = "Found mixed 'Date' and 'Days' based Transition actions in lifecycle rule for";
        return Err(S3Error::new(ErrorCode::InvalidRequest, format!("{what} {}", describe(filter))));
    }
    check_order("Days", CURRENT, transitions.iter().filter_map(of_days), filter)?;
    check_dates(&transitions, filter)?;
    Ok(transitions)
}

/// Reads the transitions of noncurrent versions, in a rule with this filter.
pub(super) fn read_noncurrent(elements: &[TransitionElement], filter: &Filter) -> Result<Vec<NoncurrentTransition>> {
    let mut transitions = Vec::with_capacity(elements.len());
    for element in elements {
        let class = element.class()?;
        let TransitionElement { days: None, date: None, noncurrent_days: Some(days), .. } = element else {
            return Err(ErrorCode::MalformedXml.into());
        };
        let days = read_days("NoncurrentDays", NONCURRENT, *days, class)?;
        let keep = element.newer_noncurrent_versions;
        let keep = keep.map(|kept| read_kept_versions(kept, NONCURRENT, filter.form)).transpose()?;
        transitions.push(NoncurrentTransition { days, keep, class });
    }
    check_classes(NONCURRENT, transitions.iter().map(|transition| transition.class), filter)?;
    let days = transitions.iter().map(|transition| (transition.days, transition.class));
    check_order("NoncurrentDays", NONCURRENT, days, filter)?;
    Ok(transitions)
}

/// What expires does so after its last transition.
pub(super) fn check_ends(rule: &Rule) -> Result<()> {
    let filter = || describe(&rule.filter);
    let invalid = |name: &'static str, given: String, message: String| Err(S3Error::argument(name, given, message));
    for transition in &rule.transitions {
        match (rule.expiration, transition.when) {
            (Some(Expiration::Days(_)), When::Date(_)) | (Some(Expiration::Date(_)), When::Days(_)) => {
                let what =
                    "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for";
                return Err(S3Error::new(ErrorCode::InvalidRequest, format!("{what} {}", filter())));
            }
            (Some(Expiration::Days(end)), When::Days(days)) if end <= days => {
                let message = format!(
                    "'Days' in the Expiration action for {} must be greater than 'Days' in the Transition action",
                    filter()
                );
                return invalid("Days", end.to_string(), message);
            }
            (Some(Expiration::Date(end)), When::Date(date)) if end <= date => {
                let message = format!(
                    "'Date' in the Expiration action for {} must be later than 'Date' in the Transition action",
                    filter()
                );
                return invalid("Date", date_of(end), message);
            }
            _ => {}
        }
    }
    let last = rule.noncurrent_transitions.iter().map(|transition| transition.days).max();
    if let (Some(end), Some(last)) = (rule.noncurrent, last)
        && end.days <= last
    {
        let message = format!(
            "'NoncurrentDays' in the NoncurrentVersionExpiration action for {} must be greater than 'NoncurrentDays' in \
             the NoncurrentVersionTransition action",
            filter()
        );
        return invalid("NoncurrentDays", end.days.to_string(), message);
    }
    Ok(())
}

/// Writes the transitions of `rule`.
pub(super) fn write(xml: &mut XmlWriter, rule: &Rule) {
    for Transition { when, class } in &rule.transitions {
        xml.element(CURRENT, |xml| {
            match when {
                When::Days(days) => xml.text("Days", days),
                When::Date(date) => xml.text("Date", date_of(*date)),
            }
            xml.text("StorageClass", class.as_str());
        });
    }
    for NoncurrentTransition { days, keep, class } in &rule.noncurrent_transitions {
        xml.element(NONCURRENT, |xml| {
            xml.text("NoncurrentDays", days);
            xml.optional("NewerNoncurrentVersions", *keep);
            xml.text("StorageClass", class.as_str());
        });
    }
}

/// Whether a class wants an object to have been there for [`LEAST_DAYS`].
fn is_infrequent(class: TransitionClass) -> bool {
    matches!(class, TransitionClass::StandardIa | TransitionClass::OneZoneIa)
}

fn read_days(name: &'static str, action: &str, days: i64, class: TransitionClass) -> Result<u32> {
    if days > i64::from(i32::MAX) {
        return Err(ErrorCode::MalformedXml.into());
    }
    let refused = |message: String| Err(S3Error::argument(name, days.to_string(), message));
    match u32::try_from(days) {
        Err(_) => refused(format!("'{name}' in {action} action must be nonnegative")),
        Ok(days) if is_infrequent(class) && days < LEAST_DAYS => refused(format!(
            "'{name}' in {action} action must be greater than or equal to {LEAST_DAYS} for storageClass '{}'",
            class.as_str()
        )),
        Ok(days) => Ok(days),
    }
}

/// No class is there twice.
fn check_classes(action: &str, classes: impl Iterator<Item = TransitionClass>, filter: &Filter) -> Result<()> {
    let mut seen = Vec::new();
    for class in classes {
        if seen.contains(&class) {
            let message = format!(
                "'StorageClass' must be different for '{action}' actions in same 'Rule' with {}",
                describe(filter)
            );
            return Err(S3Error::new(ErrorCode::InvalidRequest, message));
        }
        seen.push(class);
    }
    Ok(())
}

fn of_days(transition: &Transition) -> Option<(u32, TransitionClass)> {
    match transition.when {
        When::Days(days) => Some((days, transition.class)),
        When::Date(_) => None,
    }
}

/// A colder class comes later than a warmer one; from a class of infrequent access, so many days later.
fn check_order(
    name: &'static str,
    action: &str,
    transitions: impl Iterator<Item = (u32, TransitionClass)>,
    filter: &Filter,
) -> Result<()> {
    let transitions: Vec<_> = transitions.collect();
    for &(earlier, warmer) in &transitions {
        for &(later, colder) in transitions.iter().filter(|(_, colder)| colder.may_follow(warmer)) {
            let waits = is_infrequent(warmer) || warmer == TransitionClass::IntelligentTiering;
            let (least, how) = if waits {
                (earlier.saturating_add(LEAST_DAYS), format!("{LEAST_DAYS} days more than"))
            } else {
                (earlier.saturating_add(1), "greater than".to_owned())
            };
            if later < least {
                let of = |class: TransitionClass| {
                    let (class, filter) = (class.as_str(), describe(filter));
                    format!("'{name}' in the {action} action for StorageClass '{class}' for {filter}")
                };
                let message = format!("{} must be {how} {}", of(colder), of(warmer));
                return Err(S3Error::argument(name, later.to_string(), message));
            }
        }
    }
    Ok(())
}

/// The same, of dates.
fn check_dates(transitions: &[Transition], filter: &Filter) -> Result<()> {
    for earlier in transitions {
        for later in transitions.iter().filter(|later| later.class.may_follow(earlier.class)) {
            if let (When::Date(before), When::Date(after)) = (earlier.when, later.when)
                && after <= before
            {
                let of = |class: TransitionClass| {
                    let (class, filter) = (class.as_str(), describe(filter));
                    format!("'Date' in the {CURRENT} action for StorageClass '{class}' for {filter}")
                };
                let message = format!("{} must be later than {}", of(later.class), of(earlier.class));
                return Err(S3Error::argument("Date", date_of(after), message));
            }
        }
    }
    Ok(())
}

fn date_of(millis: i64) -> String {
    iso8601_seconds(from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::super::document::{canonical, read as read_document, read_kept};
    use super::*;
    use crate::jobs::lifecycle::Rules;

    fn parse(actions: &str) -> Result<Rules> {
        let filter = "<Filter><Prefix>p</Prefix></Filter>";
        let rule = format!("<Rule><ID>r</ID>{filter}<Status>Enabled</Status>{actions}</Rule>");
        let document = format!("<LifecycleConfiguration>{rule}</LifecycleConfiguration>");
        read_document(document.as_bytes(), false, || "made".to_owned())
    }

    fn to(when: &str, class: &str) -> String {
        format!("<Transition>{when}<StorageClass>{class}</StorageClass></Transition>")
    }

    fn days(days: i64, class: &str) -> String {
        to(&format!("<Days>{days}</Days>"), class)
    }

    fn noncurrent(days: i64, rest: &str, class: &str) -> String {
        format!(
            "<NoncurrentVersionTransition><NoncurrentDays>{days}</NoncurrentDays>{rest}\
             <StorageClass>{class}</StorageClass></NoncurrentVersionTransition>"
        )
    }

    #[track_caller]
    fn refused(actions: &[&str], code: ErrorCode, message: &str) {
        let error = parse(&actions.concat()).unwrap_err();
        assert_eq!((error.code, error.message.as_ref()), (code, message));
    }

    #[test]
    fn transitions_come_back_as_they_went_in() {
        let date = "<Date>2030-01-01T00:00:00Z</Date>";
        for actions in [
            [days(30, "STANDARD_IA"), days(60, "GLACIER"), days(61, "DEEP_ARCHIVE")].concat(),
            to(date, "INTELLIGENT_TIERING"),
            noncurrent(30, "<NewerNoncurrentVersions>3</NewerNoncurrentVersions>", "ONEZONE_IA"),
            [days(0, "GLACIER_IR"), noncurrent(0, "", "GLACIER")].concat(),
        ] {
            let rules = parse(&actions).unwrap();
            let kept = canonical(&rules);
            assert!(kept.contains(&actions), "{kept}");
            assert_eq!(read_kept(&kept).unwrap(), rules);
        }
    }

    #[test]
    fn bad_shapes_are_malformed() {
        for bad in [
            to("", "GLACIER"),
            to("<Days>1</Days><Date>2030-01-01T00:00:00Z</Date>", "GLACIER"),
            to("<NoncurrentDays>1</NoncurrentDays>", "GLACIER"),
            to("<Days>2147483648</Days>", "GLACIER"),
            days(1, "STANDARD"),
            days(1, "REDUCED_REDUNDANCY"),
            days(1, "glacier"),
            "<Transition><Days>1</Days></Transition>".to_owned(),
            noncurrent(1, "<Days>1</Days>", "GLACIER"),
            "<NoncurrentVersionTransition><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>"
                .to_owned(),
        ] {
            assert_eq!(parse(&bad).unwrap_err().code, ErrorCode::MalformedXml, "{bad}");
        }
    }

    #[test]
    fn classes_have_their_days() {
        let argument = ErrorCode::InvalidArgument;
        for class in ["STANDARD_IA", "ONEZONE_IA"] {
            let message =
                format!("'Days' in Transition action must be greater than or equal to 30 for storageClass '{class}'");
            refused(&[&days(29, class)], argument, &message);
            let message = message.replace("'Days' in ", "'NoncurrentDays' in NoncurrentVersion");
            refused(&[&noncurrent(29, "", class)], argument, &message);
        }
        refused(&[&days(-1, "GLACIER")], argument, "'Days' in Transition action must be nonnegative");
        refused(
            &[&days(1, "GLACIER"), &days(2, "GLACIER")],
            ErrorCode::InvalidRequest,
            "'StorageClass' must be different for 'Transition' actions in same 'Rule' with filter '(prefix=p)'",
        );
        refused(
            &[&days(1, "DEEP_ARCHIVE"), &days(1, "GLACIER")],
            argument,
            "'Days' in the Transition action for StorageClass 'DEEP_ARCHIVE' for filter '(prefix=p)' must be greater than \
             'Days' in the Transition action for StorageClass 'GLACIER' for filter '(prefix=p)'",
        );
        refused(
            &[&days(30, "STANDARD_IA"), &days(59, "GLACIER")],
            argument,
            "'Days' in the Transition action for StorageClass 'GLACIER' for filter '(prefix=p)' must be 30 days more than \
             'Days' in the Transition action for StorageClass 'STANDARD_IA' for filter '(prefix=p)'",
        );
        let keep = |kept: i64| format!("<NewerNoncurrentVersions>{kept}</NewerNoncurrentVersions>");
        assert!(parse(&noncurrent(1, &keep(100), "GLACIER")).is_ok());
        for kept in [0, 101] {
            assert_eq!(parse(&noncurrent(1, &keep(kept), "GLACIER")).unwrap_err().code, argument);
        }
    }

    #[test]
    fn days_and_dates_do_not_mix_and_ends_come_last() {
        let date = |day: u32| format!("<Date>2030-01-0{day}T00:00:00Z</Date>");
        let expire = |when: &str| format!("<Expiration>{when}</Expiration>");
        refused(
            &[&days(1, "GLACIER"), &to(&date(1), "DEEP_ARCHIVE")],
            ErrorCode::InvalidRequest,
            "Found mixed 'Date' and 'Days' based Transition actions in lifecycle rule for filter '(prefix=p)'",
        );
        refused(
            &[&days(1, "GLACIER"), &expire(&date(1))],
            ErrorCode::InvalidRequest,
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for filter '(prefix=p)'",
        );
        let argument = ErrorCode::InvalidArgument;
        refused(
            &[&days(30, "STANDARD_IA"), &expire("<Days>30</Days>")],
            argument,
            "'Days' in the Expiration action for filter '(prefix=p)' must be greater than 'Days' in the Transition action",
        );
        assert!(parse(&[days(30, "STANDARD_IA"), expire("<Days>31</Days>")].concat()).is_ok());
        refused(
            &[&to(&date(2), "GLACIER"), &expire(&date(2))],
            argument,
            "'Date' in the Expiration action for filter '(prefix=p)' must be later than 'Date' in the Transition action",
        );
        assert_eq!(
            parse(&[to(&date(2), "GLACIER"), to(&date(2), "DEEP_ARCHIVE")].concat()).unwrap_err().code,
            argument
        );
        let end = "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>";
        refused(
            &[&noncurrent(30, "", "STANDARD_IA"), end],
            argument,
            "'NoncurrentDays' in the NoncurrentVersionExpiration action for filter '(prefix=p)' must be greater than \
             'NoncurrentDays' in the NoncurrentVersionTransition action",
        );
    }
}
