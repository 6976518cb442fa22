//! ListObjects and ListObjectsV2: one walk over the index, which skips a common prefix rather than read it.

use http::Response;

use super::error::{Result, S3Error};
use super::render;
use super::request::Query;
use super::service::{Bucket, Call, S3};
use super::xml::XmlWriter;
use crate::clock::{from_millis, iso8601};
use crate::iam::Permit;
use crate::store::schema::{ObjectRecord, Record as _, Table, escape, prefix_of, unescape};
use crate::store::{KeyRange, MetaStore, Partition, prefix_end};
use crate::wire::ResponseBody;
use crate::wire::percent::url_encode;

/// Most entries of one page.
pub(super) const MAX_KEYS: u32 = 1000;

/// What a listing asks for, in any of its forms.
pub(super) struct Listing<'q> {
    pub prefix: &'q str,
    pub delimiter: Option<&'q str>,
    pub limit: usize,
    /// Where the page begins.
    pub after: Option<Position>,
    pub url_encoded: bool,
}

/// What a page begins behind: a key or common prefix and, where a key has several entries, the tail of one of them.
pub(super) struct Position {
    pub name: String,
    pub tail: Vec<u8>,
}

/// An entry of a page.
pub(super) enum Entry<V> {
    Key(String, V),
    CommonPrefix(String),
}

/// A page of a listing.
pub(super) struct Page<V> {
    pub entries: Vec<Entry<V>>,
    pub truncated: bool,
}

impl Position {
    /// Behind every entry of `name`.
    pub fn behind(name: &str) -> Self {
        Self { name: name.to_owned(), tail: Vec::new() }
    }
}

impl<V> Page<V> {
    /// The last key or common prefix of the page.
    pub fn last(&self) -> Option<&str> {
        self.entries.last().map(|entry| match entry {
            Entry::Key(name, _) | Entry::CommonPrefix(name) => name.as_str(),
        })
    }
}

impl<'q> Listing<'q> {
    /// Reads what all listings have in common. `limit` is the name of the parameter that bounds a page.
    pub fn read(query: &'q Query, limit: &'static str, after: Option<Position>) -> Result<Self> {
        let url_encoded = match query.non_empty("encoding-type") {
            None => false,
            Some("url") => true,
            Some(other) => {
                return Err(S3Error::argument("encoding-type", other, "Invalid Encoding Method specified in Request"));
            }
        };
        let limit = query.number(limit)?.unwrap_or(MAX_KEYS).min(MAX_KEYS);
        Ok(Self {
            prefix: query.value("prefix").unwrap_or_default(),
            delimiter: query.non_empty("delimiter"),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after,
            url_encoded,
        })
    }

    /// A name as the listing shows it.
    pub fn show(&self, name: &str) -> String {
        if self.url_encoded { url_encode(name) } else { name.to_owned() }
    }

    /// The common prefix that `name` falls under.
    pub fn common_prefix<'n>(&self, name: &'n str) -> Option<&'n str> {
        let delimiter = self.delimiter?;
        let rest = name.get(self.prefix.len()..)?;
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        name.get(..end)
    }

    /// Walks `table` of a bucket. `read` makes an entry's value of a key's tail (behind the name) and its record.
    pub async fn walk<V>(
        &self,
        store: &dyn MetaStore,
        bucket: Partition,
        table: Table,
        read: impl Fn(&[u8], bytes::Bytes) -> Result<V>,
    ) -> Result<Page<V>> {
        let mut page = Page { entries: Vec::new(), truncated: false };
        if self.limit == 0 {
            return Ok(page);
        }
        let mut range = KeyRange::prefix(&prefix_of(table, self.prefix));
        if let Some(after) = &self.after {
            range.start = range.start.max(self.start_behind(table, after));
        }
        // Where common prefixes are, a page of keys would be read only to be skipped: begin small, grow while keys come.
        let mut batch = if self.delimiter.is_some() { 8 } else { self.limit + 1 };
        while range.start < range.end {
            let pairs = store.scan(bucket, &range, batch).await?;
            let exhausted = pairs.len() < batch;
            let mut skip_to = None;
            for (key, value) in pairs {
                let Some((name, tail)) = unescape(&key) else { continue };
                if page.entries.len() == self.limit {
                    page.truncated = true;
                    return Ok(page);
                }
                if let Some(common) = self.common_prefix(&name) {
                    page.entries.push(Entry::CommonPrefix(common.to_owned()));
                    skip_to = Some(prefix_end(&prefix_of(table, common)));
                    break;
                }
                page.entries.push(Entry::Key(name, read(tail, value)?));
                range.start = key.to_vec();
                range.start.push(0);
            }
            match skip_to {
                Some(start) => {
                    range.start = start;
                    batch = 1;
                }
                None if exhausted => break,
                None => batch = (batch * 8).min(self.limit + 1),
            }
        }
        Ok(page)
    }

    /// The first key behind `after`, which may be a common prefix that the last page ended with.
    fn start_behind(&self, table: Table, after: &Position) -> Vec<u8> {
        let name = after.name.as_str();
        if name.starts_with(self.prefix) && self.common_prefix(name) == Some(name) {
            return prefix_end(&prefix_of(table, name));
        }
        let mut start = escape(table, name);
        if after.tail.is_empty() {
            return prefix_end(&start);
        }
        start.extend_from_slice(&after.tail);
        start.push(0);
        start
    }
}

impl S3 {
    pub(super) async fn list_objects_v1(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let query = &call.query;
        let marker = query.value("marker").unwrap_or_default();
        let listing = Listing::read(query, "max-keys", query.non_empty("marker").map(Position::behind))?;
        let page = self.walk_objects(&listing, bucket).await?;
        let document = self.page_document(
            bucket,
            &listing,
            &page,
            |xml| {
                xml.text("Marker", listing.show(marker));
                // S3 shows the next marker only where a common prefix might make it differ from the last key.
                if page.truncated && listing.delimiter.is_some() {
                    xml.optional("NextMarker", page.last().map(|name| listing.show(name)));
                }
            },
            true,
        );
        Ok(render::document(document?))
    }

    pub(super) async fn list_objects_v2(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let query = &call.query;
        let token = query.value("continuation-token");
        if token == Some("") {
            return Err(S3Error::argument("continuation-token", "", "The continuation token provided is incorrect"));
        }
        let start_after = query.non_empty("start-after");
        let after = match token {
            Some(token) => Some(decode_token(token).ok_or_else(|| {
                S3Error::argument("continuation-token", token, "The continuation token provided is incorrect")
            })?),
            None => start_after.map(str::to_owned),
        };
        let listing = Listing::read(query, "max-keys", after.as_deref().map(Position::behind))?;
        let page = self.walk_objects(&listing, bucket).await?;
        let with_owner = query.value("fetch-owner") == Some("true");
        let document = self.page_document(
            bucket,
            &listing,
            &page,
            |xml| {
                xml.text("KeyCount", page.entries.len());
                xml.optional("ContinuationToken", token);
                xml.optional("StartAfter", start_after.map(|after| listing.show(after)));
                if page.truncated {
                    xml.optional("NextContinuationToken", page.last().map(encode_token));
                }
            },
            with_owner,
        );
        Ok(render::document(document?))
    }

    async fn walk_objects(&self, listing: &Listing<'_>, bucket: &Bucket) -> Result<Page<ObjectRecord>> {
        let read = |_: &[u8], value: bytes::Bytes| Ok(ObjectRecord::from_value(&value)?);
        listing.walk(&*self.store, bucket.partition(), Table::Object, read).await
    }

    /// What both versions of the listing have in common.
    fn page_document(
        &self,
        bucket: &Bucket,
        listing: &Listing<'_>,
        page: &Page<ObjectRecord>,
        position: impl FnOnce(&mut XmlWriter),
        with_owner: bool,
    ) -> Result<String> {
        let mut etags = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            if let Entry::Key(name, record) = entry {
                etags.push(self.object_etag(bucket, name, record)?);
            }
        }
        let mut etags = etags.into_iter();
        Ok(XmlWriter::document("ListBucketResult", |xml| {
            xml.text("Name", &bucket.name);
            xml.text("Prefix", listing.show(listing.prefix));
            position(xml);
            xml.text("MaxKeys", listing.limit);
            xml.optional("Delimiter", listing.delimiter.map(|delimiter| listing.show(delimiter)));
            xml.optional("EncodingType", listing.url_encoded.then_some("url"));
            xml.text("IsTruncated", page.truncated);
            for entry in &page.entries {
                if let Entry::Key(name, record) = entry {
                    xml.element("Contents", |xml| {
                        xml.text("Key", listing.show(name));
                        xml.text("LastModified", iso8601(from_millis(record.modified)));
                        xml.text("ETag", format_args!("\"{}\"", etags.next().unwrap_or_default()));
                        if let Some(kind) = &record.checksum_kind {
                            xml.text("ChecksumAlgorithm", &kind.algorithm);
                            xml.text("ChecksumType", &kind.covers);
                        }
                        xml.text("Size", record.size);
                        let owner = self.object_owner(bucket, record.owner.as_deref());
                        if let Some(owner) = owner.filter(|_| with_owner) {
                            xml.element("Owner", |xml| {
                                xml.text("ID", &owner.canonical_id);
                                xml.text("DisplayName", &owner.display_name);
                            });
                        }
                        xml.text("StorageClass", &record.attributes.storage_class);
                    });
                }
            }
            write_common_prefixes(xml, listing, &page.entries);
        }))
    }
}

/// The `CommonPrefixes` of a page.
pub(super) fn write_common_prefixes<V>(xml: &mut XmlWriter, listing: &Listing<'_>, entries: &[Entry<V>]) {
    for entry in entries {
        if let Entry::CommonPrefix(prefix) = entry {
            xml.element("CommonPrefixes", |xml| xml.text("Prefix", listing.show(prefix)));
        }
    }
}

/// A continuation token: opaque to clients, so that its meaning can change.
fn encode_token(name: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE.encode(format!("1{name}"))
}

fn decode_token(token: &str) -> Option<String> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::URL_SAFE.decode(token).ok()?;
    String::from_utf8(decoded).ok()?.strip_prefix('1').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefixes_end_with_the_first_delimiter_behind_the_prefix() {
        let query = Query::parse("prefix=a/&delimiter=//").unwrap();
        let listing = Listing::read(&query, "max-keys", None).unwrap();
        assert_eq!(listing.common_prefix("a/b//c//d"), Some("a/b//"));
        assert_eq!(listing.common_prefix("a/b/c"), None);
        assert_eq!(listing.common_prefix("a///"), Some("a///"));
    }

    #[test]
    fn tokens_round_trip_and_foreign_ones_are_refused() {
        assert_eq!(decode_token(&encode_token("a/é")), Some("a/é".to_owned()));
        assert_eq!(decode_token("%%%"), None);
        assert_eq!(decode_token("YWJj"), None);
    }
}
