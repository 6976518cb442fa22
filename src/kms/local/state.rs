//! A key's states, and what each allows. (AWS: "Key states of AWS KMS keys".)
//!
//! | state | use (encrypt, decrypt, …) | enable, disable, describe… | schedule deletion | cancel deletion |
//! |---|---|---|---|---|
//! | Enabled | yes | yes | yes | no |
//! | Disabled | `DisabledException` | yes | yes | no |
//! | PendingDeletion | `KMSInvalidStateException` | `KMSInvalidStateException` | `KMSInvalidStateException` | yes |

use crate::kms::error::{KmsError, KmsErrorKind};

/// The state of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// It can be used.
    Enabled,
    /// It can not be used until it is enabled again.
    Disabled,
    /// It will be destroyed at a date that is set.
    PendingDeletion,
}

/// What an operation needs of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Its material.
    Use,
    /// To change it: enable, disable, alias, schedule its deletion.
    Change,
    /// That its deletion is pending.
    Cancel,
}

impl KeyState {
    /// `KeyState` as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
        }
    }

    /// The stored byte.
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Enabled => 0,
            Self::Disabled => 1,
            Self::PendingDeletion => 2,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Enabled),
            1 => Some(Self::Disabled),
            2 => Some(Self::PendingDeletion),
            _ => None,
        }
    }

    /// Whether the state allows what is needed of the key `arn`.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`, in AWS's words.
    pub fn allow(self, need: Need, arn: &str) -> Result<(), KmsError> {
        match (self, need) {
            (Self::Enabled, Need::Use | Need::Change)
            | (Self::Disabled, Need::Change)
            | (Self::PendingDeletion, Need::Cancel) => Ok(()),
            (Self::Disabled, Need::Use) => Err(KmsErrorKind::Disabled.with(format!("{arn} is disabled."))),
            (Self::PendingDeletion, Need::Use | Need::Change) => {
                Err(KmsErrorKind::InvalidState.with(format!("{arn} is pending deletion.")))
            }
            (Self::Enabled | Self::Disabled, Need::Cancel) => {
                Err(KmsErrorKind::InvalidState.with(format!("{arn} is not pending deletion.")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        use KeyState::{Disabled, Enabled, PendingDeletion};
        use Need::{Cancel, Change, Use};
        let refusal = |state: KeyState, need| state.allow(need, "ARN").err().map(|error| (error.kind, error.message));
        let told = |kind, text: &str| Some((kind, text.to_owned()));
        assert_eq!(refusal(Enabled, Use), None);
        assert_eq!(refusal(Enabled, Change), None);
        assert_eq!(refusal(Enabled, Cancel), told(KmsErrorKind::InvalidState, "ARN is not pending deletion."));
        assert_eq!(refusal(Disabled, Use), told(KmsErrorKind::Disabled, "ARN is disabled."));
        assert_eq!(refusal(Disabled, Change), None);
        assert_eq!(refusal(PendingDeletion, Use), told(KmsErrorKind::InvalidState, "ARN is pending deletion."));
        assert_eq!(refusal(PendingDeletion, Change), told(KmsErrorKind::InvalidState, "ARN is pending deletion."));
        assert_eq!(refusal(PendingDeletion, Cancel), None);
        for state in [Enabled, Disabled, PendingDeletion] {
            assert_eq!(KeyState::from_byte(state.to_byte()), Some(state));
        }
        assert_eq!(KeyState::from_byte(9), None);
    }
}
