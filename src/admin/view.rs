//! How jobs look in JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use super::SERVER_KEY;
use crate::clock::{from_millis, iso8601};
use crate::jobs::{JobId, JobRecord};

/// A job to be started.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum NewJob {
    /// Wraps the data keys of objects under another key.
    Rewrap {
        /// The bucket's name.
        bucket: String,
        /// Only objects whose keys begin with this.
        #[serde(default)]
        prefix: String,
        /// Objects under this KMS key (id, ARN or alias), or `SSE-S3`.
        from: String,
        /// The KMS key that they are to be under.
        to: String,
        /// At most so many objects are re-wrapped each second.
        #[serde(default)]
        rate: Option<u32>,
        /// Whether nothing is to be changed.
        #[serde(default)]
        dry_run: bool,
    },
}

/// The job `id`.
pub(super) fn job(id: JobId, record: &JobRecord) -> Value {
    let JobRecord { order, report, .. } = record;
    let failures: Vec<Value> =
        report.failures.iter().map(|failure| json!({"key": failure.key, "reason": failure.reason})).collect();
    json!({
        "id": hex::encode(id),
        "type": "rewrap",
        "state": record.state.as_str(),
        "bucket": order.bucket,
        "prefix": order.prefix,
        "from": order.from.key.as_deref().unwrap_or(SERVER_KEY),
        "to": order.to,
        "rate": order.rate,
        "dryRun": order.dry_run,
        "principal": record.principal,
        "started": iso8601(from_millis(record.started)),
        "ended": record.ended.map(|ended| iso8601(from_millis(ended))),
        "total": report.total,
        "examined": report.examined,
        "rewrapped": report.rewrapped,
        "bytes": report.bytes,
        "failed": report.failed,
        "failures": failures,
        "uploadsLeft": report.uploads_left,
        "error": report.error,
    })
}
