//! The ids of temporary credentials. Nothing is kept of these, so that the id itself tells whose account's they are, as those of AWS
//! do: behind `ASIA` stand 80 bits, by RFC 4648's base 32, of which the second to the 41st are the account's number.

use crate::policy::is_account_id;

const PREFIX: &str = "ASIA";
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Where the account's number stands: so many bits, with so many behind them.
const WIDTH: u32 = 40;
const BEHIND: u32 = 39;
const MASK: u128 = ((1 << WIDTH) - 1) << BEHIND;

/// An id for the account; what is left of it is `drawn`.
pub(super) fn id(account: &str, drawn: [u8; 10]) -> String {
    let drawn = drawn.iter().fold(0, |bits: u128, byte| (bits << 8) | u128::from(*byte));
    let account = account.parse::<u128>().unwrap_or_default();
    let bits = (drawn & !MASK) | ((account << BEHIND) & MASK);
    let letters =
        (0..16).rev().map(|at| char::from(ALPHABET[usize::try_from((bits >> (5 * at)) & 31).unwrap_or_default()]));
    PREFIX.chars().chain(letters).collect()
}

/// The account that an id tells, whether or not there is one. An id made up tells one too, as it does on AWS.
pub(super) fn account(id: &str) -> Option<String> {
    let letters = id.strip_prefix(PREFIX).filter(|letters| letters.len() == 16)?;
    let bits = letters.bytes().try_fold(0, |bits: u128, letter| {
        let (digit, _) = (0..).zip(ALPHABET).find(|(_, other)| **other == letter)?;
        Some((bits << 5) | digit)
    })?;
    Some(format!("{:012}", (bits & MASK) >> BEHIND)).filter(|account| is_account_id(account))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_the_account() {
        for of in ["000000000000", "111122223333", "999999999999"] {
            for drawn in [[0; 10], [0xff; 10], [0x5a; 10]] {
                let id = id(of, drawn);
                assert_eq!(id.len(), 20);
                assert_eq!(account(&id).as_deref(), Some(of), "{id}");
            }
            assert_ne!(id(of, [0; 10]), id(of, [1; 10]));
        }
        // An id of AWS's that its account was published with.
        assert_eq!(account("ASIAQNZGKIQY56JQ7WML").as_deref(), Some("029608264753"));
    }

    #[test]
    fn what_is_no_id_tells_none() {
        let largest = format!("ASIA{}", "7".repeat(16));
        for bad in ["", "ASIA", "AKIAIOSFODNN7EXAMPLE", "ASIAQNZGKIQY56JQ7WM", "ASIAQNZGKIQY56JQ7WM1", &largest] {
            assert_eq!(account(bad), None, "{bad}");
        }
    }
}
