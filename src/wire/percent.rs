//! Percent-encoding, as S3 uses it in paths and queries.

/// Decodes `%xx` (and, in queries, `+`). `None` if the result is not UTF-8 or an escape is cut short.
pub fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.bytes().any(|byte| byte == b'%' || (plus_is_space && byte == b'+')) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit(bytes.next())? << 4 | digit(bytes.next())?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// Encodes all but unreserved characters and `/`, as S3 does under `encoding-type=url`: a space becomes `+`.
pub fn url_encode(text: &str) -> String {
    percent_encode(text).replace("%20", "+")
}

/// Encodes all but unreserved characters and `/`.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b'/' => out.push('/'),
            byte => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoding_round_trips(text in ".*") {
            prop_assert_eq!(percent_decode(&percent_encode(&text), true), Some(text.clone()));
            prop_assert_eq!(percent_decode(&url_encode(&text), true), Some(text));
        }
    }
}
