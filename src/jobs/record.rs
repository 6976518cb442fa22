//! What is stored of a job: all that is needed to go on after a crash, and to report at its end.

use minicbor::{Decode, Encode};

use crate::store::schema::{Protection, Record};

/// A re-wrap job.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct JobRecord {
    /// What is to be done.
    #[n(0)]
    pub order: Order,
    /// Who asked: the account.
    #[n(1)]
    pub account: String,
    /// Who asked: the principal's ARN. The KMS is asked on its behalf.
    #[n(2)]
    pub principal: String,
    /// How far it is.
    #[n(3)]
    pub state: JobState,
    /// When it was started, in milliseconds since the Unix epoch.
    #[n(4)]
    pub started: i64,
    /// When it ended.
    #[n(5)]
    pub ended: Option<i64>,
    /// The last key that was looked at: it goes on behind it.
    #[n(6)]
    pub cursor: String,
    /// What was done so far.
    #[n(7)]
    pub report: Report,
    /// The order of the version of that key that was looked at last; `None` for all of them.
    #[n(8)]
    pub cursor_order: Option<u64>,
}

/// What a job is to do.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Order {
    /// The bucket's name.
    #[n(0)]
    pub bucket: String,
    /// Its id: a bucket of the same name made later is another.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bucket_id: [u8; 16],
    /// The keys that it concerns begin with this.
    #[n(2)]
    pub prefix: String,
    /// Objects that are protected so are re-wrapped; where the kind is SSE-KMS, DSSE-KMS objects under the same key too.
    #[n(3)]
    pub from: Protection,
    /// The ARN of the KMS key that they are to be under.
    #[n(4)]
    pub to: String,
    /// At most so many objects are re-wrapped each second.
    #[n(5)]
    pub rate: Option<u32>,
    /// Whether nothing is to be changed.
    #[n(6)]
    pub dry_run: bool,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(index_only)]
pub enum JobState {
    /// At work, or interrupted by the server's end and to go on at its next start.
    #[n(0)]
    Running,
    /// All objects were looked at.
    #[n(1)]
    Completed,
    /// Somebody had it stopped.
    #[n(2)]
    Cancelled,
    /// It could not go on; the report says why.
    #[n(3)]
    Failed,
}

impl JobState {
    /// As the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What a job did.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Report {
    /// Objects of the bucket when it began, from the tallies; `None` if only a prefix is concerned.
    #[n(0)]
    pub total: Option<u64>,
    /// Objects looked at.
    #[n(1)]
    pub examined: u64,
    /// Objects re-wrapped, or in a dry run, to be re-wrapped.
    #[n(2)]
    pub rewrapped: u64,
    /// Their plaintext bytes.
    #[n(3)]
    pub bytes: u64,
    /// Objects that could not be re-wrapped.
    #[n(4)]
    pub failed: u64,
    /// The first of them.
    #[n(5)]
    pub failures: Vec<Failure>,
    /// Open multipart uploads under the old key when the job ended. Their objects will be under it once completed.
    #[n(6)]
    pub uploads_left: u64,
    /// Why the job failed.
    #[n(7)]
    pub error: Option<String>,
}

/// An object that could not be re-wrapped.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(array)]
pub struct Failure {
    /// The object's key.
    #[n(0)]
    pub key: String,
    /// Why.
    #[n(1)]
    pub reason: String,
}

/// So many failures are kept one by one.
const FAILURES_KEPT: usize = 100;

impl Report {
    /// Counts an object that could not be re-wrapped.
    pub fn fail(&mut self, key: String, reason: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(Failure { key, reason });
        }
    }
}

impl Record for JobRecord {
    const NAME: &'static str = "job record";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::SseKind;

    #[test]
    fn stored_forms_do_not_change() {
        let arn = |id: &str| format!("arn:aws:kms:us-east-1:111122223333:key/{id}");
        let mut report = Report { total: Some(10), examined: 4, rewrapped: 2, bytes: 99, ..Report::default() };
        report.fail("k".to_owned(), "KMS.DisabledException".to_owned());
        let record = JobRecord {
            order: Order {
                bucket: "b".to_owned(),
                bucket_id: [1; 16],
                prefix: "logs/".to_owned(),
                from: Protection { kind: SseKind::Kms, key: Some(arn("a")) },
                to: arn("b"),
                rate: Some(50),
                dry_run: true,
            },
            account: "111122223333".to_owned(),
            principal: "arn:aws:iam::111122223333:root".to_owned(),
            state: JobState::Failed,
            started: 1_700_000_000_000,
            ended: Some(1_700_000_000_001),
            cursor: "logs/4".to_owned(),
            report,
            cursor_order: None,
        };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schema/job.bin");
        if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, record.to_value()).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(JobRecord::from_value(&golden).unwrap(), record);
        assert_eq!(record.to_value(), golden);
    }

    #[test]
    fn failures_are_kept_up_to_a_bound() {
        let mut report = Report::default();
        for n in 0..FAILURES_KEPT + 5 {
            report.fail(n.to_string(), String::new());
        }
        assert_eq!((report.failed, report.failures.len()), (105, FAILURES_KEPT));
    }
}
