//! Object Lock: a bucket's configuration, and the retention and legal hold of versions.
//! (API reference: Get- and PutObjectLockConfiguration, Get- and PutObjectRetention, Get- and PutObjectLegalHold.)

use http::{Response, StatusCode};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::access::{About, AskedLock};
use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::headers::require_digest;
use super::markings::{mode_of, name_of, no_lock, parse_until, past, status_of};
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::xml::{self, XmlWriter};
use crate::clock::{from_millis, iso8601};
use crate::iam::Permit;
use crate::store::schema::{
    Claim, DefaultRetention, ObjectLock, ObjectRecord, Period, Retention, RetentionMode, Versioning,
};
use crate::wire::{RequestBody, ResponseBody};

/// Longest document, in bytes.
const MAX_DOCUMENT: usize = 16 * 1024;
/// Longest default retention. (AWS: "Object Lock considerations".)
const MAX_DAYS: i64 = 36_500;
const MAX_YEARS: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Configuration {
    object_lock_enabled: Option<String>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rule {
    default_retention: DefaultRule,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DefaultRule {
    mode: Option<String>,
    days: Option<i64>,
    years: Option<i64>,
    default_event_hold: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RetentionDocument {
    mode: Option<String>,
    retain_until_date: Option<String>,
    event_hold: Option<IgnoredAny>,
    event_hold_duration: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LegalHoldDocument {
    status: Option<String>,
}

/// `NotImplemented`: what AWS has documented of event holds leaves open who may release one, and what it is then held by.
fn no_event_holds() -> S3Error {
    S3Error::new(ErrorCode::NotImplemented, "Object Lock event holds are not implemented by this server.")
}

/// The lock that a document asks for.
fn parse(document: &[u8]) -> Result<ObjectLock> {
    let malformed = || S3Error::from(ErrorCode::MalformedXml);
    let Configuration { object_lock_enabled, rule } = xml::read(document, "ObjectLockConfiguration")?;
    if object_lock_enabled.as_deref() != Some("Enabled") {
        return Err(malformed());
    }
    let Some(Rule { default_retention: DefaultRule { mode, days, years, default_event_hold } }) = rule else {
        return Ok(ObjectLock::default());
    };
    if default_event_hold.is_some() {
        return Err(no_event_holds());
    }
    let mode = mode.as_deref().and_then(mode_of).ok_or_else(malformed)?;
    let bounded = |number: i64, most: i64, unit: &str| match u32::try_from(number) {
        Ok(number) if (1..=most).contains(&i64::from(number)) => Ok(number),
        Ok(number) if number > 0 => {
            let text = format!("The default retention period cannot be more than {most} {unit}.");
            Err(S3Error::new(ErrorCode::InvalidRetentionPeriod, text))
        }
        _ => Err(ErrorCode::InvalidRetentionPeriod.into()),
    };
    let period = match (days, years) {
        (Some(days), None) => Period::Days(bounded(days, MAX_DAYS, "days")?),
        (None, Some(years)) => Period::Years(bounded(years, MAX_YEARS, "years")?),
        _ => return Err(malformed()),
    };
    Ok(ObjectLock { default: Some(DefaultRetention { mode, period }) })
}

/// The retention that a document asks for; `None` for none at all.
fn parse_retention(document: &[u8], now: i64) -> Result<Option<Retention>> {
    let malformed = || S3Error::from(ErrorCode::MalformedXml);
    let RetentionDocument { mode, retain_until_date, event_hold, event_hold_duration } =
        xml::read(document, "Retention")?;
    if event_hold.is_some() || event_hold_duration.is_some() {
        return Err(no_event_holds());
    }
    let (mode, given) = match (mode, retain_until_date) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode_of(&mode).ok_or_else(malformed)?, until),
        _ => return Err(malformed()),
    };
    let until = parse_until(given.trim()).ok_or_else(malformed)?;
    if until <= now {
        return Err(past("RetainUntilDate", told(until).unwrap_or(given)));
    }
    Ok(Some(Retention { mode, until }))
}

/// A date of a document as AWS tells it: as Java writes one, at the Pacific coast. (Recorded on AWS, `test_s3_object_retention_exc`.)
fn told(until: i64) -> Option<String> {
    let pacific = TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").ok()?;
    Some(from_millis(until).to_zoned_datetime(pacific).strftime("%a %b %d %H:%M:%S %Z %Y").to_string())
}

/// Writes a `Retention`: without one, an empty one, which lifts what there is.
pub(super) fn retention_document(retention: Option<Retention>) -> String {
    XmlWriter::document("Retention", |xml| {
        if let Some(Retention { mode, until }) = retention {
            xml.text("Mode", name_of(mode));
            xml.text("RetainUntilDate", iso8601(from_millis(until)));
        }
    })
}

/// Writes a `LegalHold`.
pub(super) fn legal_hold_document(hold: bool) -> String {
    XmlWriter::document("LegalHold", |xml| xml.text("Status", status_of(hold)))
}

/// Whether `new` may come in place of `old`: what holds a version may be made stronger by anybody who may set it; weaker, in
/// governance mode, by those who bypass it; in compliance mode, by nobody.
pub(super) fn may_replace(old: Option<Retention>, new: Option<Retention>, claim: Claim) -> bool {
    let Some(old) = old.filter(|old| old.until > claim.now) else { return true };
    let stronger = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
    stronger || (old.mode == RetentionMode::Governance && claim.bypass)
}

impl S3 {
    pub(super) fn object_lock_configuration(bucket: &Bucket, _permit: Permit) -> Result<Response<ResponseBody>> {
        let missing = || ErrorCode::ObjectLockConfigurationNotFound.with("BucketName", &bucket.name);
        let lock = bucket.record.object_lock.ok_or_else(missing)?;
        Ok(render::document(XmlWriter::document("ObjectLockConfiguration", |xml| {
            xml.text("ObjectLockEnabled", "Enabled");
            if let Some(DefaultRetention { mode, period }) = lock.default {
                xml.element("Rule", |xml| {
                    xml.element("DefaultRetention", |xml| {
                        xml.text("Mode", name_of(mode));
                        match period {
                            Period::Days(days) => xml.text("Days", days),
                            Period::Years(years) => xml.text("Years", years),
                        }
                    });
                });
            }
        })))
    }

    pub(super) async fn put_object_lock_configuration(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_required_document(call, body, MAX_DOCUMENT).await?;
        require_digest(&call.headers)?;
        let lock = parse(&document)?;
        self.configure_bucket(bucket, |record| {
            if record.versioning != Versioning::Enabled {
                return Err(S3Error::new(
                    ErrorCode::InvalidBucketState,
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
                ));
            }
            record.object_lock = Some(lock);
            Ok(())
        })
        .await?;
        Ok(render::empty(StatusCode::OK))
    }

    /// The record that an operation on a lock is about.
    async fn lockable(&self, call: &Call<'_>, bucket: &Bucket, key: &ObjectKey) -> Result<ObjectRecord> {
        if bucket.record.object_lock.is_none() {
            return Err(no_lock());
        }
        self.find(bucket, key, call.version()?).await.map_err(|missing| missing.tell_of_part(call, key))
    }

    /// Whether the caller may set the lock that its document asks for. Who may not at all is not told what is wrong with it.
    async fn authorize_lock<'r>(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &'r ObjectKey,
        asked: &'r AskedLock,
    ) -> Result<(About<'r>, Permit)> {
        let about = About { lock: Some(asked), ..About::named(call, key)? };
        let permit = self.authorize_about(call, call.action(), bucket, about).await?;
        Ok((about, permit))
    }

    pub(super) async fn object_retention(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let record = self.lockable(call, bucket, key).await?;
        let retention = record.retention.ok_or(ErrorCode::NoSuchObjectLockConfiguration)?;
        Ok(render::document(retention_document(Some(retention))))
    }

    /// Permitted here, as a policy may ask for how long the version is to be held.
    pub(super) async fn put_object_retention(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let said = document.as_ref().ok().and_then(|document| xml::read(document, "Retention").ok());
        let asked = said.map_or_else(AskedLock::default, |said: RetentionDocument| AskedLock {
            mode: said.mode,
            until: said.retain_until_date,
            hold: None,
        });
        let permitted = self.authorize_lock(call, bucket, key, &asked).await?;
        let document = document?;
        if bucket.record.object_lock.is_none() {
            return Err(no_lock());
        }
        let claim = self.claim(call, bucket, About::named(call, key)?).await?;
        let retention = parse_retention(&document, claim.now)?;
        self.change_version(call, bucket, key, permitted, |record| {
            if !may_replace(record.retention, retention, claim) {
                let text = "Access Denied because object protected by object lock.";
                return Err(S3Error::new(ErrorCode::AccessDenied, text));
            }
            record.retention = retention;
            Ok(())
        })
        .await?;
        Ok(render::empty(StatusCode::OK))
    }

    pub(super) async fn object_legal_hold(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let record = self.lockable(call, bucket, key).await?;
        let hold = record.legal_hold.ok_or(ErrorCode::NoSuchObjectLockConfiguration)?;
        Ok(render::document(legal_hold_document(hold)))
    }

    /// Permitted here, as a policy may ask whether the version is to be held.
    pub(super) async fn put_object_legal_hold(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let said = document.as_ref().ok().and_then(|document| xml::read(document, "LegalHold").ok());
        let hold = said.and_then(|said: LegalHoldDocument| said.status);
        let asked = AskedLock { hold, ..AskedLock::default() };
        let permitted = self.authorize_lock(call, bucket, key, &asked).await?;
        // Read before it is asked whether there are locks. (Recorded on AWS, `test_put_object_legal_hold_exc`.)
        let LegalHoldDocument { status } = xml::read(&document?, "LegalHold")?;
        let hold = match status.as_deref() {
            Some("ON") => true,
            Some("OFF") => false,
            _ => return Err(ErrorCode::MalformedXml.into()),
        };
        if bucket.record.object_lock.is_none() {
            return Err(no_lock());
        }
        self.change_version(call, bucket, key, permitted, |record| {
            record.legal_hold = Some(hold);
            Ok(())
        })
        .await?;
        Ok(render::empty(StatusCode::OK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let read = |inner: &str| {
            let document = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
            parse(document.as_bytes()).map(|lock| lock.default).map_err(|error| error.code)
        };
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        let rule = |inner: &str| read(&format!("{enabled}<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"));
        let (governance, malformed) = ("<Mode>GOVERNANCE</Mode>", Err(ErrorCode::MalformedXml));
        let default = |mode, period| Ok(Some(DefaultRetention { mode, period }));
        assert_eq!(read(enabled), Ok(None));
        let days = default(RetentionMode::Governance, Period::Days(1));
        assert_eq!(rule(&format!("{governance}<Days>1</Days>")), days);
        let years = default(RetentionMode::Compliance, Period::Years(100));
        assert_eq!(rule("<Mode>COMPLIANCE</Mode><Years>100</Years>"), years);
        let misspelt =
            format!("{enabled}<Rules><DefaultRetention>{governance}<Days>1</Days></DefaultRetention></Rules>");
        for bad in
            ["", "<ObjectLockEnabled>Disabled</ObjectLockEnabled>", &format!("{enabled}<Rule></Rule>"), &misspelt]
        {
            assert_eq!(read(bad), malformed, "{bad}");
        }
        let event = "<DefaultEventHold><Days>1</Days></DefaultEventHold>";
        assert_eq!(rule(&format!("{governance}{event}")), Err(ErrorCode::NotImplemented));
        for bad in
            ["", governance, "<Mode>x</Mode><Days>1</Days>", "<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"]
        {
            assert_eq!(rule(bad), malformed, "{bad}");
        }
        for bad in ["<Days>0</Days>", "<Days>-1</Days>", "<Days>36501</Days>", "<Years>101</Years>"] {
            assert_eq!(rule(&format!("{governance}{bad}")), Err(ErrorCode::InvalidRetentionPeriod), "{bad}");
        }
    }

    #[test]
    fn retentions() {
        let read = |inner: &str| {
            let document = format!("<Retention>{inner}</Retention>");
            parse_retention(document.as_bytes(), 1_000).map_err(|error| error.code)
        };
        let full = "<Mode>COMPLIANCE</Mode><RetainUntilDate>1970-01-01T00:00:02Z</RetainUntilDate>";
        assert_eq!(read(full), Ok(Some(Retention { mode: RetentionMode::Compliance, until: 2_000 })));
        let last = crate::clock::Timestamp::MAX.as_millisecond();
        let ever = full.replace("1970-01-01T00:00:02Z", " 9999-12-31T23:59:59Z ");
        assert_eq!(read(&ever), Ok(Some(Retention { mode: RetentionMode::Compliance, until: last })));
        assert_eq!(read(""), Ok(None));
        let spaced = b"<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n</Retention>";
        assert!(parse_retention(spaced, 1_000).unwrap().is_none());
        // To lift a retention for a document that says something else would be to lose it.
        for other in ["<Other/>", "other", "<RetainUntil>2030-01-01T00:00:00Z</RetainUntil>"] {
            assert_eq!(read(other), Err(ErrorCode::MalformedXml), "{other}");
        }
        assert_eq!(read("<EventHold>ON</EventHold>"), Err(ErrorCode::NotImplemented));
        assert_eq!(read(&format!("{full}<EventHold>OFF</EventHold>")), Err(ErrorCode::NotImplemented));
        let duration = "<EventHoldDuration><Days>5</Days></EventHoldDuration>";
        assert_eq!(read(duration), Err(ErrorCode::NotImplemented));
        assert_eq!(read("<Mode>GOVERNANCE</Mode>"), Err(ErrorCode::MalformedXml));
        assert_eq!(read(&full.replace("02Z", "01Z")), Err(ErrorCode::InvalidArgument));
        assert_eq!(read(&full.replace("1970", "x")), Err(ErrorCode::MalformedXml));
        assert_eq!(read(&full.replace("COMPLIANCE", "governance")), Err(ErrorCode::MalformedXml));
    }

    #[test]
    fn dates_are_told_as_by_aws() {
        let told = |text: &str| told(parse_until(text).unwrap()).unwrap();
        assert_eq!(told("2020-01-01T00:00:00Z"), "Tue Dec 31 16:00:00 PST 2019");
        assert_eq!(told("2020-07-01T00:00:00Z"), "Tue Jun 30 17:00:00 PDT 2020");
    }

    #[test]
    fn what_may_come_in_place_of_what() {
        use RetentionMode::{Compliance, Governance};
        let some = |mode, until| Some(Retention { mode, until });
        let may = |old, new, bypass| may_replace(old, new, Claim { now: 100, bypass });
        for bypass in [false, true] {
            assert!(may(None, some(Compliance, 200), bypass));
            assert!(may(some(Compliance, 100), None, bypass), "it is over");
            assert!(may(some(Governance, 200), some(Governance, 300), bypass));
            assert!(may(some(Compliance, 200), some(Compliance, 200), bypass));
            assert!(!may(some(Compliance, 200), some(Compliance, 199), bypass));
            assert!(!may(some(Compliance, 200), some(Governance, 300), bypass));
            assert!(!may(some(Compliance, 200), None, bypass));
            assert_eq!(may(some(Governance, 200), some(Governance, 199), bypass), bypass);
            assert_eq!(may(some(Governance, 200), some(Compliance, 200), bypass), bypass);
            assert_eq!(may(some(Governance, 200), None, bypass), bypass);
        }
    }
}
