//! The stored form of a record: a version byte, then CBOR.

use minicbor::{Decode, Decoder, Encode};

use crate::store::StoreError;

/// The version byte of every record written today.
const FORMAT: u8 = 1;
/// Bytes of most records, at most: so that few are copied while they grow, and leave no copy of a secret where they lay.
const USUAL: usize = 512;

/// The stored form of a record.
pub fn to_value(record: &impl Encode<()>) -> Vec<u8> {
    let mut value = Vec::with_capacity(USUAL);
    value.push(FORMAT);
    minicbor::encode(record, &mut value).expect("encoding into memory cannot fail");
    value
}

/// Reads a stored form of what is called `name`.
///
/// # Errors
/// [`StoreError::Corrupt`] if the version is unknown, or the bytes are not one such record and nothing else.
pub fn from_value<R: for<'b> Decode<'b, ()>>(value: &[u8], name: &str) -> Result<R, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{name}: {what}"));
    let [FORMAT, cbor @ ..] = value else {
        return Err(corrupt("unknown format version"));
    };
    let mut decoder = Decoder::new(cbor);
    let record = decoder.decode().map_err(|e| corrupt(&e.to_string()))?;
    if decoder.position() != cbor.len() {
        return Err(corrupt("trailing bytes"));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_beside_it() {
        let value = to_value(&7_u8);
        assert_eq!(value, [FORMAT, 7]);
        assert_eq!(from_value::<u8>(&value, "number").unwrap(), 7);

        let told = |value: &[u8]| match from_value::<u8>(value, "number") {
            Err(StoreError::Corrupt(what)) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(told(&[FORMAT, 7, 0]), "number: trailing bytes");
        assert_eq!(told(&[FORMAT + 1, 7]), "number: unknown format version");
        assert_eq!(told(b""), "number: unknown format version");
        assert!(told(&[FORMAT]).starts_with("number: "));
    }
}
