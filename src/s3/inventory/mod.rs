//! Inventory: reports of what is in a bucket, delivered as objects, daily or weekly.
//! (S3 user guide, "Cataloging and analyzing your data with S3 Inventory".)

mod columns;
mod csv;
mod deliver;
mod document;
mod manifest;
mod parquet;
mod record;
mod report;

use super::configuration::Asked;
use super::error::Result;
use super::xml::XmlWriter;
use document::Inventory;

/// `InventoryConfiguration`. (S3 API reference, PutBucketInventoryConfiguration.)
pub(super) fn canonical(asked: &Asked<'_>) -> Result<String> {
    let inventory = Inventory::read(asked.document, asked.id)?;
    Ok(XmlWriter::fragment(|xml| inventory.write(xml)))
}
