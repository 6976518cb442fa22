//! Encoded words (RFC 2047): how user metadata beyond US-ASCII stand in headers. "Values of such headers are character decoded as
//! per RFC 2047 before storing and encoded as per RFC 2047 to make them mail-safe before returning." (S3 user guide, "User-defined
//! object metadata".)

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Printable US-ASCII as it is; all else as one word, in the Q encoding where all of it can be shown, and else in B, as from AWS.
pub(super) fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte) || byte == b'\t') {
        return Cow::Borrowed(text);
    }
    let cannot_be_shown = |character: char| character.is_control() || character == char::REPLACEMENT_CHARACTER;
    if text.contains(cannot_be_shown) {
        return Cow::Owned(format!("=?UTF-8?B?{}?=", STANDARD.encode(text)));
    }
    let mut word = "=?UTF-8?Q?".to_owned();
    for byte in text.bytes() {
        match byte {
            b' ' => word.push('_'),
            b'_' | b'=' | b'?' | 0x80.. => {
                let _ = write!(word, "={byte:02X}");
            }
            plain => word.push(char::from(plain)),
        }
    }
    word.push_str("?=");
    Cow::Owned(word)
}

/// Text with its encoded words read. What is none, or in a character set other than UTF-8, US-ASCII and ISO 8859-1, stays as it is.
pub(super) fn decode(text: &str) -> String {
    let (mut decoded, mut rest) = (String::with_capacity(text.len()), text);
    // Spaces between two words belong to neither. (RFC 2047, section 6.2)
    let mut behind_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let word = Word::first(from);
        let is_between = behind_word && word.is_some() && before.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
        if !is_between {
            decoded.push_str(before);
        }
        if let Some(Word { text, rest: behind }) = word {
            decoded.push_str(&text);
            (rest, behind_word) = (behind, true);
        } else {
            decoded.push_str("=?");
            (rest, behind_word) = (&from[2..], false);
        }
    }
    decoded.push_str(rest);
    decoded
}

/// An encoded word, and what is behind it.
struct Word<'t> {
    text: String,
    rest: &'t str,
}

impl<'t> Word<'t> {
    /// The word that `text` begins with: `=?charset?encoding?encoded?=`.
    fn first(text: &'t str) -> Option<Self> {
        let (charset, text) = text.strip_prefix("=?")?.split_once('?')?;
        let (encoding, text) = text.split_once('?')?;
        let (encoded, rest) = text.split_once("?=")?;
        let bytes = match encoding {
            "B" | "b" => unbase64(encoded)?,
            "Q" | "q" => unquote(encoded)?,
            _ => return None,
        };
        let is_base64 = encoding.eq_ignore_ascii_case("B");
        let text = match &*charset.to_ascii_uppercase() {
            "UTF-8" | "US-ASCII" if is_base64 => String::from_utf8_lossy(&bytes).into_owned(),
            "UTF-8" | "US-ASCII" => String::from_utf8(bytes).ok()?,
            "ISO-8859-1" => bytes.into_iter().map(char::from).collect(),
            _ => return None,
        };
        Some(Self { text, rest })
    }
}

/// The bytes of the B encoding, read as leniently as AWS does: padding may be missing, and where it stands in the place of data,
/// it counts as ones. (Recorded on AWS, `test_user_metadata_rfc2047_bad_b64_encoded`.)
fn unbase64(encoded: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = STANDARD.decode(encoded) {
        return Some(bytes);
    }
    let data = encoded.strip_suffix("==").or_else(|| encoded.strip_suffix('=')).unwrap_or(encoded);
    let missing = (4 - data.len() % 4) % 4;
    if missing == 3 {
        return None;
    }
    let whole = data.replace('=', "/") + &"A".repeat(missing);
    let mut bytes = STANDARD.decode(whole).ok()?;
    bytes.truncate(bytes.len() - missing);
    Some(bytes)
}

/// The bytes of the Q encoding.
fn unquote(encoded: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(encoded.len()), encoded.as_bytes());
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match first {
            b'_' => b' ',
            b'=' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digits = std::str::from_utf8(digits).ok()?;
                // Rust would take a plus sign as well.
                u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?
            }
            b'?' => return None,
            plain => *plain,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_aws() {
        for plain in ["", "a  b\t", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "=?UTF-8?Q?actually-ascii?="] {
            assert_eq!(encode(plain), plain);
        }
        for (text, word) in [
            ("ÄMÄZÕÑ S3", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="),
            ("test_—_file%E2%80%94_é_2?.pdf", "=?UTF-8?Q?test=5F=E2=80=94=5Ffile%E2%80%94=5F=C3=A9=5F2=3F.pdf?="),
            ("👑=", "=?UTF-8?Q?=F0=9F=91=91=3D?="),
            ("\0\u{1}\u{2}\u{3}", "=?UTF-8?B?AAECAw==?="),
            ("Ä\u{84}", "=?UTF-8?B?w4TChA==?="),
            ("\u{fffd}", "=?UTF-8?B?77+9?="),
            ("\u{fffd}a\u{fffd}", "=?UTF-8?B?77+9Ye+/vQ==?="),
        ] {
            assert_eq!(encode(text), word);
            assert_eq!(decode(word), text);
        }
    }

    #[test]
    fn words_are_read_wherever_they_stand() {
        for (written, text) in [
            ("", ""),
            ("plain text", "plain text"),
            ("=?UTF-8?Q?actually-ascii?=", "actually-ascii"),
            ("=?utf-8?b?YWJj?=", "abc"),
            ("=?iso-8859-1?q?caf=e9?=", "café"),
            ("=?UTF-8?B?YWI?=", "ab"),
            ("=?UTF-8?B?=GGG?=", "\u{fffd}a\u{fffd}"),
            ("a =?UTF-8?Q?=C3=A9?= b", "a é b"),
            ("=?UTF-8?Q?a?= \t =?UTF-8?B?Yg==?= c", "ab c"),
            ("x=?UTF-8?Q?a?==?UTF-8?Q?b?=", "xab"),
        ] {
            assert_eq!(decode(written), text, "{written}");
        }
    }

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for other in [
            "=?",
            "=??=",
            "a =? b ?= c",
            "=?UTF-8?Q?a",
            "=?UTF-8?X?a?=",
            "=?KOI8-R?B?YWJj?=",
            "=?UTF-8?Q?=ff?=",
            "=?UTF-8?Q?=4?=",
            "=?UTF-8?Q?=+4?=",
            "=?UTF-8?B?YWJj*?=",
            "=?UTF-8?B?YWJjZ?=",
            "=?UTF-8?Q?a?b?=",
        ] {
            assert_eq!(decode(other), other);
        }
        assert_eq!(decode("=?UTF-8?Q?a?= =?UTF-8?X?b?="), "a =?UTF-8?X?b?=");
    }
}
