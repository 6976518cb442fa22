//! ListObjectVersions: a walk over all versions, by key and the newest first, which skips a common prefix rather than read
//! it.

use http::Response;

use super::call::{Bucket, Call};
use super::error::{Result, S3Error};
use super::list::{Entry, Listed, Listing, write_common_prefixes};
use super::render;
use super::request::ObjectKey;
use super::service::S3;
use super::version;
use super::xml::XmlWriter;
use crate::iam::{Account, Permit};
use crate::store::commit::{self, After, FoundVersion};
use crate::store::schema::{Version, VersionId};
use crate::wire::ResponseBody;

/// The parameter that names the version behind which a page begins.
const ID_MARKER: &str = "version-id-marker";

/// Refuses markers that say nothing. A key's may be empty, if it is there.
fn check_markers(key: Option<&str>, id: Option<&str>) -> Result<()> {
    match (key, id) {
        (None, Some(id)) => {
            let message = "A version-id marker cannot be specified without a key marker.";
            Err(S3Error::argument(ID_MARKER, id, message))
        }
        (_, Some("")) => Err(S3Error::argument(ID_MARKER, "", "A version-id marker cannot be empty.")),
        (_, Some(id)) => version::parse(ID_MARKER, id).map(drop),
        (_, None) => Ok(()),
    }
}

/// A page of the walk.
struct Page {
    entries: Vec<Entry<FoundVersion>>,
    truncated: bool,
}

impl Page {
    /// The common prefix that is the last entry, if one is.
    fn last_common_prefix(&self) -> Option<&str> {
        match self.entries.last() {
            Some(Entry::CommonPrefix(name)) => Some(name),
            _ => None,
        }
    }
}

impl S3 {
    pub(super) async fn list_object_versions(
        &self,
        call: &Call<'_>,
        bucket: &Bucket,
        _permit: Permit,
    ) -> Result<Response<ResponseBody>> {
        let query = &call.query;
        let (key_marker, id_marker) = (query.value("key-marker"), query.value("version-id-marker"));
        check_markers(key_marker, id_marker)?;
        let key_marker = key_marker.unwrap_or_default();
        let listing = Listing::read(query, Listed::Versions, None)?;
        let page = match id_marker {
            // Behind a version of no key there is nothing.
            Some(_) if key_marker.is_empty() => Page { entries: Vec::new(), truncated: false },
            _ => {
                let after = self.after_markers(bucket, &listing, key_marker, id_marker).await?;
                self.walk_versions(bucket, &listing, after).await?
            }
        };

        let mut etags = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            etags.push(match entry {
                Entry::Key(name, FoundVersion { version: Version::Object(record), .. }) => {
                    Some(self.object_etag(bucket, name, record)?)
                }
                _ => None,
            });
        }
        Ok(render::document(XmlWriter::document("ListVersionsResult", |xml| {
            xml.text("Name", &bucket.name);
            xml.text("Prefix", listing.show(listing.prefix));
            xml.text("KeyMarker", listing.show(key_marker));
            xml.text("VersionIdMarker", id_marker.unwrap_or_default());
            match page.entries.last().filter(|_| page.truncated) {
                Some(Entry::Key(name, found)) => {
                    xml.text("NextKeyMarker", listing.show(name));
                    xml.text("NextVersionIdMarker", found.version.id());
                }
                Some(Entry::CommonPrefix(name)) => xml.text("NextKeyMarker", listing.show(name)),
                None => {}
            }
            xml.text("MaxKeys", listing.asked);
            xml.optional("Delimiter", query.value("delimiter").map(|delimiter| listing.show(delimiter)));
            xml.optional("EncodingType", listing.encoding);
            xml.text("IsTruncated", page.truncated);
            for (entry, etag) in page.entries.iter().zip(&etags) {
                if let Entry::Key(name, found) = entry {
                    let recorded = found.version.object().and_then(|record| record.owner.as_deref());
                    let owner = self.object_owner(bucket, recorded).map(|account| &**account);
                    write_version(xml, &listing.show(name), found, etag.as_deref(), owner);
                }
            }
            write_common_prefixes(xml, &listing, &page.entries);
        })))
    }

    /// Where the page begins.
    async fn after_markers(
        &self,
        bucket: &Bucket,
        listing: &Listing<'_>,
        key: &str,
        id: Option<&str>,
    ) -> Result<Option<After>> {
        match (key, id) {
            ("", _) => Ok(None),
            (key, None) => Ok(Some(match listing.common_prefix(key) {
                Some(common) => After::Prefix(common.to_owned()),
                None => After::Key(key.to_owned()),
            })),
            (key, Some(id)) => {
                let order = match version::parse(ID_MARKER, id)? {
                    VersionId::Own { order, .. } => order,
                    // The null version does not say where it stands. If it is gone, what its key has left is listed.
                    null @ VersionId::Null => {
                        let key = ObjectKey::parse(key)?;
                        let (store, partition) = (&*self.store, bucket.partition());
                        let found = commit::read_version(store, partition, key.as_str(), Some(null)).await?;
                        found.map_or(u64::MAX, |version| version.order())
                    }
                };
                Ok(Some(After::Version(key.to_owned(), order)))
            }
        }
    }

    async fn walk_versions(&self, bucket: &Bucket, listing: &Listing<'_>, mut after: Option<After>) -> Result<Page> {
        let mut page = Page { entries: Vec::new(), truncated: false };
        if listing.limit == 0 {
            return Ok(page);
        }
        let (store, partition, skip, batch) = (&*self.store, bucket.partition(), listing.skip(), listing.limit + 1);
        loop {
            let wanted = (listing.prefix, skip.as_ref());
            let found = commit::read_groups(store, partition, wanted, after.as_ref(), batch).await?;
            let exhausted = found.len() < batch;
            for found in found {
                let common = listing.common_prefix(&found.key);
                // What stands for a common prefix may be there again, as one of its delete markers or noncurrent versions.
                if common.is_some() && common == page.last_common_prefix() {
                    continue;
                }
                if page.entries.len() == listing.limit {
                    page.truncated = true;
                    return Ok(page);
                }
                if let Some(common) = common {
                    after = Some(After::Prefix(common.to_owned()));
                    page.entries.push(Entry::CommonPrefix(common.to_owned()));
                } else {
                    after = Some(After::Version(found.key.clone(), found.version.order()));
                    page.entries.push(Entry::Key(found.key.clone(), found));
                }
            }
            if exhausted {
                return Ok(page);
            }
        }
    }
}

fn write_version(xml: &mut XmlWriter, name: &str, found: &FoundVersion, etag: Option<&str>, owner: Option<&Account>) {
    let of_the_version = |xml: &mut XmlWriter| {
        xml.text("Key", name);
        xml.text("VersionId", found.version.id());
        xml.text("IsLatest", found.is_current);
        xml.time("LastModified", found.version.modified());
    };
    let owned = |xml: &mut XmlWriter| {
        if let Some(owner) = owner {
            xml.element("Owner", |xml| {
                xml.text("ID", &owner.canonical_id);
                xml.text("DisplayName", &owner.display_name);
            });
        }
    };
    match &found.version {
        Version::Marker(_) => xml.element("DeleteMarker", |xml| {
            of_the_version(xml);
            owned(xml);
        }),
        Version::Object(record) => xml.element("Version", |xml| {
            of_the_version(xml);
            xml.text("ETag", format_args!("\"{}\"", etag.unwrap_or_default()));
            if let Some(kind) = &record.checksum_kind {
                xml.text("ChecksumAlgorithm", &kind.algorithm);
                xml.text("ChecksumType", &kind.covers);
            }
            xml.text("Size", record.size);
            owned(xml);
            xml.text("StorageClass", &record.attributes.storage_class);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versions_marker_takes_a_keys_which_may_be_empty() {
        let check = |key, id| check_markers(key, id).map_err(|error| error.message.into_owned());
        assert_eq!(check(Some(""), Some("null")), Ok(()));
        assert_eq!(check(Some("k"), None), Ok(()));
        let without = "A version-id marker cannot be specified without a key marker.".to_owned();
        assert_eq!(check(None, Some("")), Err(without.clone()));
        assert_eq!(check(None, Some("null")), Err(without));
        assert_eq!(check(Some("k"), Some("")), Err("A version-id marker cannot be empty.".to_owned()));
        assert_eq!(check(Some("k"), Some("NULL")), Err("Invalid version id specified".to_owned()));
    }
}
