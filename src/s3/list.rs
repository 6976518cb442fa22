//! ListObjects and ListObjectsV2: one walk over the index, which skips a common prefix rather than read it.

use std::sync::Arc;

use http::Response;

use super::call::{Bucket, Call};
use super::error::{ErrorCode, Result, S3Error};
use super::render;
use super::request::{Query, out_of_range};
use super::service::S3;
use super::xml::XmlWriter;
use crate::iam::Permit;
use crate::store::schema::{ObjectRecord, Record as _, Table, behind_prefix, escape, prefix_of, unescape};
use crate::store::{KeyRange, MetaStore, Partition, Skip, StoreError, prefix_end};
use crate::wire::ResponseBody;
use crate::wire::percent::url_encode;

/// Most entries of one page.
pub(super) const MAX_KEYS: u32 = 1000;

/// What a listing asks for, in any of its forms.
pub(super) struct Listing<'q> {
    pub prefix: &'q str,
    pub delimiter: Option<&'q str>,
    /// Most entries of the page.
    pub limit: usize,
    /// What was asked for as such, which may be more.
    pub asked: u32,
    /// Where the page begins.
    pub after: Option<Position>,
    /// `encoding-type`, as it was sent: names are URL-encoded.
    pub encoding: Option<&'q str>,
}

/// Which listing it is, where AWS's answers to bad parameters differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Listed {
    Objects,
    Versions,
    Uploads,
}

impl Listed {
    /// The parameter that bounds a page.
    const fn limit(self) -> &'static str {
        match self {
            Self::Objects | Self::Versions => "max-keys",
            Self::Uploads => "max-uploads",
        }
    }

    /// Refuses a bound below zero.
    fn refuse_limit(self, number: i32) -> S3Error {
        match self {
            Self::Objects => out_of_range("maxKeys", number),
            Self::Versions => {
                S3Error::new(ErrorCode::InvalidArgument, "max-keys cannot be negative").with("ArgumentName", "max-keys")
            }
            Self::Uploads => out_of_range("max-uploads", number),
        }
    }
}

/// What a page begins behind: a key or common prefix and, where a key has several entries, the tail of one of them.
pub(super) struct Position {
    pub name: String,
    pub tail: Vec<u8>,
    /// Whether all of the common prefix that the name falls under is behind the page, and not only if it is the name.
    pub skips_prefix: bool,
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
        Self { name: name.to_owned(), tail: Vec::new(), skips_prefix: false }
    }

    /// Behind every entry of a marker: a name, or the common prefix that it falls under.
    pub fn behind_marker(name: &str) -> Self {
        Self { skips_prefix: true, ..Self::behind(name) }
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
    /// Reads what all listings have in common.
    pub fn read(query: &'q Query, listed: Listed, after: Option<Position>) -> Result<Self> {
        let asked = query.integer(listed.limit())?;
        let encoding = query.value("encoding-type");
        if let Some(other) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("url")) {
            return Err(S3Error::argument("encoding-type", other, "Invalid Encoding Method specified in Request"));
        }
        let asked = match asked {
            None => MAX_KEYS,
            Some(number) => u32::try_from(number).map_err(|_| listed.refuse_limit(number))?,
        };
        Ok(Self {
            prefix: query.value("prefix").unwrap_or_default(),
            delimiter: query.non_empty("delimiter"),
            limit: usize::try_from(asked.min(MAX_KEYS)).unwrap_or(usize::MAX),
            asked,
            after,
            encoding,
        })
    }

    /// A name as the listing shows it.
    pub fn show(&self, name: &str) -> String {
        if self.encoding.is_some() { url_encode(name) } else { name.to_owned() }
    }

    /// The common prefix that `name` falls under.
    pub fn common_prefix<'n>(&self, name: &'n str) -> Option<&'n str> {
        common_prefix(name, self.prefix.len(), self.delimiter?)
    }

    /// Has a scan pass by all that falls under a common prefix but the first.
    pub fn skip(&self) -> Option<Skip> {
        let (prefix, delimiter) = (self.prefix.len(), self.delimiter?.to_owned());
        Some(Arc::new(move |key| {
            let (name, _) = unescape(key)?;
            behind_prefix(key, common_prefix(&name, prefix, &delimiter)?)
        }))
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
        // Each pair is an entry, as what falls under a common prefix is passed by behind the first.
        let found = store.scan_all(bucket, &[range], self.skip().as_ref(), self.limit + 1).await?;
        for (key, value) in found.into_iter().flatten() {
            if page.entries.len() == self.limit {
                page.truncated = true;
                break;
            }
            let (name, tail) = unescape(&key).ok_or_else(|| StoreError::Corrupt("object key".to_owned()))?;
            page.entries.push(match self.common_prefix(&name) {
                Some(common) => Entry::CommonPrefix(common.to_owned()),
                None => Entry::Key(name, read(tail, value)?),
            });
        }
        Ok(page)
    }

    /// The first key behind `after`, which may be a common prefix that the last page ended with.
    fn start_behind(&self, table: Table, after: &Position) -> Vec<u8> {
        let name = after.name.as_str();
        let common = self.common_prefix(name).filter(|_| name.starts_with(self.prefix));
        if let Some(common) = common.filter(|common| after.skips_prefix || *common == name) {
            return prefix_end(&prefix_of(table, common));
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

/// What of `name` ends with the first `delimiter` behind the first `prefix` bytes.
fn common_prefix<'n>(name: &'n str, prefix: usize, delimiter: &str) -> Option<&'n str> {
    let end = prefix + name.get(prefix..)?.find(delimiter)? + delimiter.len();
    name.get(..end)
}

impl S3 {
    pub(super) async fn list_objects_v1(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let query = &call.query;
        refuse_of_other_version(query, &V2_ONLY)?;
        let marker = query.value("marker").unwrap_or_default();
        let listing = Listing::read(query, Listed::Objects, query.non_empty("marker").map(Position::behind_marker))?;
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
        refuse_of_other_version(query, &V1_ONLY)?;
        let token = query.value("continuation-token");
        let start_after = query.value("start-after");
        let after = match token {
            Some(token) => Some(decode_token(token).ok_or_else(incorrect_token)?),
            None => start_after.filter(|after| !after.is_empty()).map(str::to_owned),
        };
        let listing = Listing::read(query, Listed::Objects, after.as_deref().map(Position::behind))?;
        let page = self.walk_objects(&listing, bucket).await?;
        let with_owner = query.value("fetch-owner") == Some("true");
        let document = self.page_document(
            bucket,
            &listing,
            &page,
            |xml| {
                xml.text("KeyCount", page.entries.len());
                xml.optional("ContinuationToken", token);
                // Beside a token only what its listing can have begun behind. (Recorded on AWS,
                // `test_list_objects_v2_continuation_start_after`; the published suite's
                // `test_bucket_list_v2_both_continuation_token_start_after`.)
                let is_before = |start: &&str| after.as_deref().is_some_and(|after| *start <= after);
                let start_after = start_after.filter(|start| token.is_none() || is_before(start));
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
            xml.text("MaxKeys", listing.asked);
            xml.optional("Delimiter", listing.delimiter.map(|delimiter| listing.show(delimiter)));
            xml.optional("EncodingType", listing.encoding);
            xml.text("IsTruncated", page.truncated);
            for entry in &page.entries {
                if let Entry::Key(name, record) = entry {
                    xml.element("Contents", |xml| {
                        xml.text("Key", listing.show(name));
                        xml.time("LastModified", record.modified);
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

/// Parameters that one version of the listing has and the other refuses, with AWS's texts.
type Foreign = [(&'static str, &'static str)];
const V1_ONLY: [(&str, &str); 1] = [("marker", "Marker unsupported with REST.GET.BUCKET in list-type=2")];
const V2_ONLY: [(&str, &str); 2] = [
    ("continuation-token", "continuation-token only supported in REST.GET.BUCKET with list-type=2"),
    ("start-after", "startAfter only supported in REST.GET.BUCKET with list-type=2"),
];

fn refuse_of_other_version(query: &Query, foreign: &Foreign) -> Result<()> {
    match foreign.iter().find(|(name, _)| query.has(name)) {
        Some((name, message)) => Err(S3Error::new(ErrorCode::InvalidArgument, *message).with("ArgumentName", *name)),
        None => Ok(()),
    }
}

/// `InvalidArgument`, for a token that none of these listings gave.
pub(super) fn incorrect_token() -> S3Error {
    let message = "The continuation token provided is incorrect";
    S3Error::new(ErrorCode::InvalidArgument, message).with("ArgumentName", "continuation-token")
}

/// A continuation token: opaque to clients, so that its meaning can change.
pub(super) fn encode_token(name: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE.encode(format!("1{name}"))
}

/// What [`encode_token`] was given.
pub(super) fn decode_token(token: &str) -> Option<String> {
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
        let listing = Listing::read(&query, Listed::Objects, None).unwrap();
        assert_eq!(listing.common_prefix("a/b//c//d"), Some("a/b//"));
        assert_eq!(listing.common_prefix("a/b/c"), None);
        assert_eq!(listing.common_prefix("a///"), Some("a///"));
    }

    #[test]
    fn a_marker_stands_for_the_common_prefix_that_it_falls_under() {
        let query = Query::parse("prefix=a/&delimiter=/").unwrap();
        let listing = Listing::read(&query, Listed::Objects, None).unwrap();
        let start = |position: Position| listing.start_behind(Table::Object, &position);
        let behind_prefix = prefix_end(&prefix_of(Table::Object, "a/b/"));
        for marker in ["a/b/", "a/b/c", "a/b/c/d"] {
            assert_eq!(start(Position::behind_marker(marker)), behind_prefix, "{marker}");
        }
        assert_eq!(start(Position::behind("a/b/")), behind_prefix);
        let behind_key = |key| prefix_end(&escape(Table::Object, key));
        assert_eq!(start(Position::behind("a/b/c")), behind_key("a/b/c"));
        for marker in ["a/b", "b/c/d", "a"] {
            assert_eq!(start(Position::behind_marker(marker)), behind_key(marker), "{marker}");
        }
    }

    #[test]
    fn pages_are_bounded_and_their_bound_is_told_as_it_was_asked_for() {
        let read = |query: &str, listed| {
            let query = Query::parse(query).unwrap();
            let listing = Listing::read(&query, listed, None);
            listing.map(|listing| (listing.limit, listing.asked)).map_err(|error| error.message.into_owned())
        };
        assert_eq!(read("max-keys=1001", Listed::Objects), Ok((1000, 1001)));
        assert_eq!(read("max-keys=05", Listed::Versions), Ok((5, 5)));
        let below = "must be an integer between 0 and 2147483647";
        assert_eq!(read("max-keys=-1", Listed::Objects), Err(format!("Argument maxKeys {below}")));
        assert_eq!(read("max-keys=-1", Listed::Versions), Err("max-keys cannot be negative".to_owned()));
        assert_eq!(read("max-uploads=-1", Listed::Uploads), Err(format!("Argument max-uploads {below}")));
        let encoding = "Invalid Encoding Method specified in Request".to_owned();
        assert_eq!(read("encoding-type=xml&max-keys=-1", Listed::Objects), Err(encoding.clone()));
        assert_eq!(read("encoding-type=", Listed::Objects), Err(encoding));
        assert!(read("encoding-type=URL", Listed::Objects).is_ok());
    }

    #[test]
    fn parameters_of_the_other_version_are_refused() {
        let refused = |query: &str, foreign: &Foreign| {
            refuse_of_other_version(&Query::parse(query).unwrap(), foreign).map_err(|error| error.message.into_owned())
        };
        let message = "continuation-token only supported in REST.GET.BUCKET with list-type=2";
        assert_eq!(refused("start-after=&continuation-token=x", &V2_ONLY), Err(message.to_owned()));
        let message = "Marker unsupported with REST.GET.BUCKET in list-type=2";
        assert_eq!(refused("list-type=2&marker=", &V1_ONLY), Err(message.to_owned()));
        assert_eq!(refused("marker=x&prefix=y", &V2_ONLY), Ok(()));
    }

    #[test]
    fn tokens_round_trip_and_foreign_ones_are_refused() {
        assert_eq!(decode_token(&encode_token("a/é")), Some("a/é".to_owned()));
        assert_eq!(decode_token("%%%"), None);
        assert_eq!(decode_token("YWJj"), None);
    }
}
