//! The inventory by key: which buckets keep how much under which key. Read from the tallies, without a scan of objects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::iam::Identity;
use crate::kms::{Caller, KeyRef, Kms};
use crate::store::schema::{Protection, SseKind};
use crate::store::tally::read_tallies;
use crate::store::{Store, StoreError, Tally, commit};

/// Buckets read at once.
const PAGE: usize = 1000;

/// One entry for each kind and key, with the buckets that keep something so: those that `identity`'s account owns, and those
/// that depend on its keys. With `only`, what depends on that key alone.
pub(super) async fn report(
    store: &dyn Store,
    kms: &dyn Kms,
    identity: &Identity,
    only: Option<&Protection>,
) -> Result<Vec<Value>, StoreError> {
    let account = &identity.account.id;
    let mut entries: BTreeMap<Protection, Vec<(String, Tally)>> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = commit::read_buckets(store, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        for (bucket, record) in &page {
            for (protection, tally) in read_tallies(store, record.partition()).await? {
                let visible = record.account == *account || is_key_of(&protection, account);
                if visible && only.is_none_or(|only| depends(&protection, only)) {
                    entries.entry(protection).or_default().push((bucket.clone(), tally));
                }
            }
        }
    }
    Ok(entries.into_iter().map(|(protection, buckets)| entry(kms, &protection, &buckets)).collect())
}

/// The buckets of `identity`'s account whose default encryption names the key with this ARN: nothing could be written to them
/// without it.
pub(super) async fn defaults(
    store: &dyn Store,
    kms: &dyn Kms,
    caller: &Caller,
    identity: &Identity,
    arn: &str,
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = commit::read_buckets(store, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after.clone_from(last);
        for (bucket, record) in page {
            let named = record.encryption.and_then(|default| default.key);
            let Some(named) = named.filter(|_| record.account == identity.account.id) else { continue };
            // By whichever of its names; one that cannot be looked up is none of this key.
            let is_it = named == arn
                || kms.describe(caller, &KeyRef::parse(&named)).await.is_ok_and(|key| key.arn.to_string() == arn);
            if is_it {
                found.push(bucket);
            }
        }
    }
}

/// Whether what is under `protection` is lost with `key`.
fn depends(protection: &Protection, key: &Protection) -> bool {
    match key.kind {
        SseKind::Kms => protection.key == key.key,
        kind => protection.kind == kind,
    }
}

fn is_key_of(protection: &Protection, account: &str) -> bool {
    let key = protection.key.as_deref().map(KeyRef::parse);
    matches!(key, Some(KeyRef::KeyArn(arn)) if arn.account() == account)
}

fn entry(kms: &dyn Kms, protection: &Protection, buckets: &[(String, Tally)]) -> Value {
    let total = buckets.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally));
    let mut entry = numbers(total);
    entry["encryption"] = json!(protection.kind.as_str());
    entry["key"] = json!(protection.key);
    entry["service"] = json!(protection.key.as_deref().and_then(|key| kms.knowledge().service_of(&KeyRef::parse(key))));
    let buckets = buckets.iter().map(|(bucket, tally)| {
        let mut row = numbers(*tally);
        row["bucket"] = json!(bucket);
        row
    });
    entry["buckets"] = buckets.collect();
    entry
}

fn numbers(tally: Tally) -> Value {
    let Tally { objects, bytes, uploads, part_bytes } = tally;
    json!({"objects": objects, "bytes": bytes, "uploads": uploads, "partBytes": part_bytes})
}
