//! What a write says of its version beside the attributes: tags, retention, legal hold. And what reads tell of them.
//! (AWS: "How S3 Object Lock works"; API reference, PutObject.)

use http::header::{HeaderMap, HeaderName};
use jiff::Span;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::access::About;
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::{has_digest, insert};
use super::operation::Operation;
use super::put::insert_number;
use super::request::ObjectKey;
use super::service::S3;
use super::tags::{self, Tags};
use crate::clock::{Timestamp, from_millis, iso8601};
use crate::iam::Permit;
use crate::store::commit;
use crate::store::schema::{Claim, ObjectRecord, Period, Retention, RetentionMode};

pub(super) const MODE: &str = "x-amz-object-lock-mode";
pub(super) const UNTIL: &str = "x-amz-object-lock-retain-until-date";
pub(super) const HOLD: &str = "x-amz-object-lock-legal-hold";
pub(super) const BYPASS: &str = "x-amz-bypass-governance-retention";

/// What a version is marked with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Markings {
    pub tags: Tags,
    pub retention: Option<Retention>,
    pub legal_hold: Option<bool>,
}

/// A mode by its name.
pub(super) fn mode_of(name: &str) -> Option<RetentionMode> {
    match name {
        "GOVERNANCE" => Some(RetentionMode::Governance),
        "COMPLIANCE" => Some(RetentionMode::Compliance),
        _ => None,
    }
}

/// A mode's name.
pub(super) fn name_of(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

/// Whether a legal hold is on, as it is written.
pub(super) fn status_of(hold: bool) -> &'static str {
    if hold { "ON" } else { "OFF" }
}

/// `InvalidRequest`, of a bucket without Object Lock.
pub(super) fn no_lock() -> S3Error {
    S3Error::new(ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")
}

/// `InvalidArgument`, of a date that is past.
pub(super) fn past(name: &'static str, given: impl Into<String>) -> S3Error {
    S3Error::argument(name, given, "The retain until date must be in the future!")
}

/// Whether headers say anything of a lock.
fn ask_for_lock(headers: &HeaderMap) -> bool {
    [MODE, UNTIL, HOLD].iter().any(|name| headers.contains_key(*name))
}

impl S3 {
    /// Reads the markings of a write to `key`, and judges whether the caller may make them.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`, `InvalidTag`, `InvalidRequest`.
    pub(super) async fn markings(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<Markings> {
        let tags = tags::of_write(call)?;
        if call.headers.contains_key(tags::HEADER) {
            self.authorize_tagging(call, "s3:PutObjectTagging", bucket, key, &tags).await?;
        }
        let mut markings = Markings { tags, ..Markings::default() };
        let Some(lock) = bucket.record.object_lock else {
            return if ask_for_lock(&call.headers) { Err(no_lock()) } else { Ok(markings) };
        };
        let now = self.lock_time().await?;
        markings.retention = asked_retention(call, now)?;
        markings.legal_hold = asked_hold(call)?;
        for (action, asked) in [
            ("s3:PutObjectRetention", markings.retention.is_some()),
            ("s3:PutObjectLegalHold", markings.legal_hold.is_some()),
        ] {
            if asked {
                self.authorize(call, action, bucket, Some(key)).await?;
            }
        }
        // A bucket's default begins when the version does: of an upload in parts, when it is completed.
        if markings.retention.is_none() && call.row.operation != Operation::CreateMultipartUpload {
            markings.retention =
                lock.default.map(|default| Retention { mode: default.mode, until: end_of(default.period, now) });
        }
        if markings.retention.is_some() || markings.legal_hold == Some(true) {
            require_digest(call, "Put Object")?;
        }
        Ok(markings)
    }

    /// What holds a version that was uploaded in parts: what its upload was begun with, or the bucket's default.
    pub(super) async fn retention_of_upload(
        &self,
        bucket: &Bucket,
        begun_with: Option<Retention>,
    ) -> Result<Option<Retention>> {
        let default = bucket.record.object_lock.and_then(|lock| lock.default);
        let (None, Some(default)) = (begun_with, default) else { return Ok(begun_with) };
        Ok(Some(Retention { mode: default.mode, until: end_of(default.period, self.lock_time().await?) }))
    }

    /// The time by which locks are judged, in milliseconds since the Unix epoch.
    pub(super) async fn lock_time(&self) -> Result<i64> {
        Ok(commit::read_lock_time(&*self.store, self.clock.now().as_millisecond()).await?)
    }

    /// What the request can say against a lock on the version that it is about.
    ///
    /// # Errors
    /// `InvalidArgument` for a bypass where there are no locks.
    pub(super) async fn claim(&self, call: &Call<'_>, bucket: &Bucket, about: About<'_>) -> Result<Claim> {
        check_bypass(call, bucket)?;
        if bucket.record.object_lock.is_none() {
            return Ok(Claim { now: self.clock.now().as_millisecond(), bypass: false });
        }
        let bypass = call.header(BYPASS).is_some_and(|asked| asked.eq_ignore_ascii_case("true"))
            && self.may(call, "s3:BypassGovernanceRetention", bucket, about).await;
        Ok(Claim { now: self.lock_time().await?, bypass })
    }

    /// Tells of a version's markings, as far as the caller may know them.
    pub(super) async fn tell_markings(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        record: &ObjectRecord,
        headers: &mut HeaderMap,
    ) {
        let version = call.version().ok().flatten();
        let about = About { key: Some(key), version, record: Some(record), ..About::default() };
        let read_tags = if version.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
        if !record.tags.is_empty() && self.may(call, read_tags, bucket, about).await {
            insert_number(headers, "x-amz-tagging-count", record.tags.len());
        }
        if let Some(Retention { mode, until }) = record.retention
            && self.may(call, "s3:GetObjectRetention", bucket, about).await
        {
            insert(headers, HeaderName::from_static(MODE), name_of(mode));
            insert(headers, HeaderName::from_static(UNTIL), &iso8601(from_millis(until)));
        }
        if let Some(hold) = record.legal_hold
            && self.may(call, "s3:GetObjectLegalHold", bucket, about).await
        {
            insert(headers, HeaderName::from_static(HOLD), status_of(hold));
        }
    }

    async fn may(&self, call: &Call<'_>, action: &'static str, bucket: &Bucket, about: About<'_>) -> bool {
        self.authorize_about(call, action, bucket, about).await.is_ok()
    }

    /// Whether the caller may give an object these tags.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) async fn authorize_tagging(
        &self,
        call: &Call<'_>,
        action: &'static str,
        bucket: &Bucket,
        key: &ObjectKey,
        tags: &[(String, String)],
    ) -> Result<Permit> {
        let version = call.version().ok().flatten();
        let about = About { key: Some(key), version, tags: Some(tags), ..About::default() };
        self.authorize_about(call, action, bucket, about).await
    }
}

/// Refuses a bypass of locks where there are none.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn check_bypass(call: &Call<'_>, bucket: &Bucket) -> Result<()> {
    if call.header(BYPASS).is_none() || bucket.record.object_lock.is_some() {
        return Ok(());
    }
    let message = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.";
    Err(S3Error::new(ErrorCode::InvalidArgument, message).with("ArgumentName", BYPASS))
}

/// What the digest headers are wanted for: what is to be kept for years had better be what was sent.
pub(super) fn require_digest(call: &Call<'_>, kind: &str) -> Result<()> {
    let takes_body = matches!(call.row.operation, Operation::PutObject | Operation::UploadPart);
    if !takes_body || has_digest(&call.headers) {
        return Ok(());
    }
    Err(S3Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "Content-MD5 OR x-amz-checksum- HTTP header is required for {kind} requests with Object Lock parameters"
        ),
    ))
}

fn asked_retention(call: &Call<'_>, now: i64) -> Result<Option<Retention>> {
    let half = |missing: &'static str| {
        let message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
        Err(S3Error::new(ErrorCode::InvalidArgument, message).with("ArgumentName", missing))
    };
    // That both are there is looked at first. (Recorded on AWS, `test_s3_object_lock_mode_validation`.)
    let (mode, until) = match (call.header(MODE), call.header(UNTIL)) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        (None, Some(_)) => return half(MODE),
        (Some(_), None) => return half(UNTIL),
    };
    let mode = mode_of(mode).ok_or_else(|| S3Error::argument(MODE, mode, "Unknown wormMode directive."))?;
    let at = parse_until(until)
        .ok_or_else(|| S3Error::argument(UNTIL, until, "The retain until date must be provided in ISO 8601 format"))?;
    if at <= now {
        return Err(past(UNTIL, until));
    }
    Ok(Some(Retention { mode, until: at }))
}

/// Until when a version is to be held, in milliseconds since the Unix epoch, from a time in ISO 8601. Many write "for ever" as the
/// last second of the year 9999: what lies behind the last time that there is here, a day before, is that time.
pub(super) fn parse_until(text: &str) -> Option<i64> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let pieces = Pieces::parse(text).ok()?;
        let is_late = pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some();
        is_late.then_some(Timestamp::MAX)
    })?;
    Some(at.as_millisecond())
}

fn asked_hold(call: &Call<'_>) -> Result<Option<bool>> {
    match call.header(HOLD) {
        None => Ok(None),
        Some("ON") => Ok(Some(true)),
        Some("OFF") => Ok(Some(false)),
        Some(other) => Err(S3Error::argument(HOLD, other, "Legal Hold must be either of 'ON' or 'OFF'")),
    }
}

/// When a period that begins `now` is over.
fn end_of(period: Period, now: i64) -> i64 {
    const DAY: i64 = 86_400_000;
    match period {
        Period::Days(days) => now.saturating_add(i64::from(days) * DAY),
        // By the calendar: the same day and hour, of another year.
        Period::Years(years) => {
            let begun = Offset::UTC.to_datetime(from_millis(now));
            let ended = begun.checked_add(Span::new().years(i64::from(years)));
            let ended = ended.and_then(|ended| Offset::UTC.to_timestamp(ended));
            ended.map_or(i64::MAX, Timestamp::as_millisecond)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_held_for_ever_is_held_to_the_last() {
        assert_eq!(parse_until("1970-01-01T00:00:02Z"), Some(2_000));
        assert_eq!(parse_until("1970-01-01T01:00:02.5+01:00"), Some(2_500));
        let last = Timestamp::MAX.as_millisecond();
        for late in [
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "9999-12-31T23:59:59+00:00",
            "9999-12-30T23:00:00-12:00",
        ] {
            assert_eq!(parse_until(late), Some(last), "{late}");
        }
        assert!(parse_until("9999-12-30T00:00:00Z").is_some_and(|at| at < last));
        for none in [
            "9999-12-31",
            "9999-12-31T00:00:00",
            "9999-13-31T00:00:00Z",
            "9999-12-32T00:00:00Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_until(none), None, "{none}");
        }
    }

    #[test]
    fn periods_end_by_the_calendar() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(end_of(Period::Days(1), at("2024-02-28T12:00:00Z")), at("2024-02-29T12:00:00Z"));
        assert_eq!(end_of(Period::Years(1), at("2023-06-01T12:00:00Z")), at("2024-06-01T12:00:00Z"));
        assert_eq!(end_of(Period::Years(1), at("2024-02-29T12:00:00Z")), at("2025-02-28T12:00:00Z"));
        assert_eq!(end_of(Period::Years(100), at("2026-01-01T00:00:00Z")), at("2126-01-01T00:00:00Z"));
    }
}
