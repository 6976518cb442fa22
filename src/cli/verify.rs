//! `strongroom verify`: proof for the auditor that what is stored can be read, and under which keys it is.
//!
//! Exit codes: 0 when all is in order; 1 when it could not be verified; 2 when it was asked wrongly; 3 when something is
//! damaged; 4 when nothing is, but a KMS key or the root key was not at hand, so that objects other than SSE-C's could not
//! be opened.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::data_dir::{DataDir, DataDirError};
use super::graph::{GraphError, load_root_key, open_keys, open_store};
use super::key_services::Surroundings;
use super::operate::show;
use super::settings::{self, ServeArgs, SettingsError};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::crypto::{SharedEntropy, SystemEntropy};
use crate::jobs::verify::{BucketFindings, Verification};
use crate::kms::{KeyRef, SharedKms};
use crate::sse::Sse;
use crate::store::rocks::RocksStore;
use crate::store::schema::{BucketRecord, SseKind};
use crate::store::tally::read_tallies;
use crate::store::{SharedStore, StoreError, commit};
use crate::telemetry::Metrics;

/// Something is damaged.
const DAMAGED: u8 = 3;
/// Something could not be opened.
const NOT_OPENED: u8 = 4;

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The server's config file.
    #[arg(long, env = "STRONGROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory [default: strongroom-data]. The server must not be running.
    #[arg(long, env = "STRONGROOM_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only this bucket.
    #[arg(long)]
    bucket: Option<String>,
    /// Use no keys: check that every run is there, whole, and as its record says, without opening any.
    #[arg(long)]
    structure_only: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// It could not be verified.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("there is no bucket {0}")]
    NoBucket(String),
    #[error("there is no store in {}", .0.display())]
    NoStore(PathBuf),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

impl VerifyError {
    /// Whether it was asked wrongly, by the configuration too.
    pub(super) fn is_of_asking(&self) -> bool {
        match self {
            Self::Settings(_) | Self::NoBucket(_) => true,
            Self::DataDir(error) => error.is_of_asking(),
            Self::Graph(error) => error.is_of_asking(),
            _ => false,
        }
    }

    /// Whether what names all objects is itself damaged.
    fn is_damage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Corrupt(_)) | Self::Graph(GraphError::Store(StoreError::Corrupt(_))))
    }
}

/// Verifies, and reports.
pub(super) fn run(arguments: VerifyArgs) -> Result<ExitCode, VerifyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(verify(arguments)) {
        Err(error) if error.is_damage() => {
            writeln!(io::stderr(), "strongroom: {error}")?;
            Ok(ExitCode::from(DAMAGED))
        }
        ended => ended,
    }
}

async fn verify(arguments: VerifyArgs) -> Result<ExitCode, VerifyError> {
    let VerifyArgs { config, data_dir, bucket, structure_only, json } = arguments;
    let as_served = ServeArgs { config, data_dir, ..ServeArgs::default() };
    let config = settings::settle(as_served, |name| std::env::var(name).ok())?;
    if !config.data_dir.join("store").is_dir() {
        return Err(VerifyError::NoStore(config.data_dir));
    }
    let directory = DataDir::open(&config.data_dir)?;
    let entropy: SharedEntropy = Arc::new(SystemEntropy::new());
    let store = open_store(directory.path(), &config.store, &entropy)?;
    let sse = if structure_only { Ok(None) } else { open_sse(&config, &directory, &store, &entropy).await.map(Some) };
    let (sse, without_keys) = match sse {
        Ok(sse) => (sse, None),
        // What is damaged shows without the root key as well.
        Err(error) if error.lacks_the_root_key() => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let services = sse.clone();
    let service_of = |key: &Option<String>| {
        let service = services.as_ref().zip(key.as_ref()).and_then(|(sse, key)| sse.service_of(&KeyRef::parse(key)));
        service.map(str::to_owned)
    };
    let verification = Verification { store: store as SharedStore, sse, region: config.region.to_string() };
    let buckets = choose(&verification.store, bucket).await?;
    let bar = progress(&verification.store, &buckets).await;
    let mut report = Vec::new();
    for (name, record) in &buckets {
        bar.set_message(name.clone());
        report.push((name.clone(), verification.verify_bucket(name, record, |bytes| bar.inc(bytes)).await));
    }
    bar.finish_and_clear();
    if let Some(reason) = &without_keys {
        writeln!(io::stderr(), "Without the root key nothing can be opened: {reason}")?;
    }
    if json {
        show::json(&document(&report, &service_of))?;
    } else {
        show::line(&text(&report, &service_of))?;
    }
    Ok(judge(&report, structure_only))
}

async fn open_sse(
    config: &Config,
    directory: &DataDir,
    store: &Arc<RocksStore>,
    entropy: &SharedEntropy,
) -> Result<Arc<Sse>, GraphError> {
    let clock: SharedClock = Arc::new(SystemClock);
    let surroundings = Surroundings { config, metrics: &Arc::new(Metrics::default()), entropy };
    let remote = surroundings.remote_services().await?;
    let root_key = load_root_key(config, directory.path(), false, entropy, &remote).await?;
    let (kms, server_key) = open_keys(config, root_key, store, &clock, entropy).await?;
    let services = surroundings.join(&kms, Arc::clone(&kms) as SharedKms, remote)?;
    Ok(Arc::new(Sse::new(Arc::new(services), server_key, clock, Arc::clone(entropy))))
}

async fn choose(store: &SharedStore, only: Option<String>) -> Result<Vec<(String, BucketRecord)>, VerifyError> {
    if let Some(name) = only {
        let record = commit::read_bucket(&**store, &name).await?;
        return Ok(vec![(name.clone(), record.ok_or(VerifyError::NoBucket(name))?)]);
    }
    let mut buckets = Vec::new();
    loop {
        let after = buckets.last().map_or("", |(name, _): &(String, _)| name.as_str());
        let page = commit::read_buckets(&**store, after, 1000).await?;
        if page.is_empty() {
            return Ok(buckets);
        }
        buckets.extend(page);
    }
}

/// A bar over all the bytes there are, for a terminal.
async fn progress(store: &SharedStore, buckets: &[(String, BucketRecord)]) -> ProgressBar {
    let mut total = 0_u64;
    for (_, record) in buckets {
        // Tallies that cannot be read are found later on.
        for (_, tally) in read_tallies(&**store, record.partition()).await.unwrap_or_default() {
            total = total.saturating_add(u64::try_from(tally.bytes.saturating_add(tally.part_bytes)).unwrap_or(0));
        }
    }
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = "{bar:30} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left) {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn judge(report: &[(String, BucketFindings)], structure_only: bool) -> ExitCode {
    if report.iter().any(|(_, findings)| !findings.damages.is_empty()) {
        return ExitCode::from(DAMAGED);
    }
    let mut protections = report.iter().flat_map(|(_, findings)| &findings.protections);
    let unopened = protections.any(|(protection, found)| found.checked > 0 && protection.kind != SseKind::Customer);
    if unopened && !structure_only { ExitCode::from(NOT_OPENED) } else { ExitCode::SUCCESS }
}

/// Tells the service of a key, where there are several.
type ServiceOf<'r> = &'r dyn Fn(&Option<String>) -> Option<String>;

fn document(report: &[(String, BucketFindings)], service_of: ServiceOf<'_>) -> Value {
    let buckets = report.iter().map(|(bucket, findings)| {
        let protections = findings.protections.iter().map(|(protection, found)| {
            json!({
                "encryption": protection.kind.as_str(),
                "key": protection.key,
                "service": service_of(&protection.key),
                "objects": found.objects,
                "bytes": found.bytes,
                "opened": found.opened,
                "checked": found.checked,
                "damaged": found.damaged,
            })
        });
        let damages = findings.damages.iter().map(|finding| json!({"what": finding.what, "problem": finding.problem}));
        json!({
            "bucket": bucket,
            "protections": protections.collect::<Value>(),
            "damages": damages.collect::<Value>(),
            "unavailable": findings.unavailable,
        })
    });
    json!({"buckets": buckets.collect::<Value>()})
}

fn text(report: &[(String, BucketFindings)], service_of: ServiceOf<'_>) -> String {
    let mut protections = report.iter().flat_map(|(_, findings)| findings.protections.keys());
    let with_service = protections.any(|protection| service_of(&protection.key).is_some());
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut unavailable = BTreeMap::new();
    for (bucket, findings) in report {
        for (protection, found) in &findings.protections {
            let mut row = vec![bucket.clone(), protection.kind.as_str().to_owned()];
            row.push(protection.key.clone().unwrap_or_else(|| "-".to_owned()));
            row.extend(with_service.then(|| service_of(&protection.key).unwrap_or_else(|| "-".to_owned())));
            row.push(show::count(&json!(found.objects)));
            row.push(show::bytes(&json!(found.bytes)));
            row.extend([found.opened, found.checked, found.damaged].map(|count| show::count(&json!(count))));
            rows.push(row);
        }
        unavailable.extend(findings.unavailable.clone());
        lines.extend(findings.damages.iter().map(|f| format!("damaged: {bucket}/{}: {}", f.what, f.problem)));
    }
    let mut titles = vec!["BUCKET", "ENCRYPTION", "KEY"];
    titles.extend(with_service.then_some("SERVICE"));
    let texts = titles.len();
    titles.extend(["OBJECTS", "BYTES", "OPENED", "CHECKED", "DAMAGED"]);
    let mut all = vec![show::table(&titles, texts, rows)];
    all.extend(unavailable.iter().map(|(key, reason)| format!("not at hand: {key}: {reason}")));
    all.extend(lines);
    all.join("\n")
}
