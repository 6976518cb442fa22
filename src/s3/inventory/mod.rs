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

use http::Response;

use super::access::About;
use super::call::{Bucket, Call};
use super::configuration::{MAX_DOCUMENT, PutDocument};
use super::error::Result;
use super::service::S3;
use super::xml::XmlWriter;
use crate::wire::{RequestBody, ResponseBody};
use document::Inventory;

/// `InventoryConfiguration`. (S3 API reference, PutBucketInventoryConfiguration.)
pub(super) fn canonical(asked: &PutDocument<'_>) -> Result<String> {
    let inventory = Inventory::read(asked.document, asked.id)?;
    Ok(XmlWriter::fragment(|xml| inventory.write(xml)))
}

impl S3 {
    /// Permitted here, as a policy may ask which optional fields reports are to have.
    pub(super) async fn put_inventory(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        body: RequestBody,
    ) -> Result<Response<ResponseBody>> {
        let document = self.read_document(call, &call.headers, body, MAX_DOCUMENT).await;
        let fields = document.as_deref().map(Inventory::asked_fields).unwrap_or_default();
        let about = About { inventory_fields: &fields, ..About::default() };
        // Who may not at all is not told what is wrong with the document.
        let permit = self.authorize_about(call, call.action(), bucket, about).await?;
        self.put_document(call, bucket, permit, &document?).await
    }
}
