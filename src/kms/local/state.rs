//! A key's states, and what each allows. (AWS: "Key states of AWS KMS keys".)
//!
//! | state           | use, rotate, grant          | tag, describe, import, alias, schedule | enable, disable, public key | cancel deletion |
//! |-----------------|-----------------------------|----------------------------------------|-----------------------------|-----------------|
//! | Enabled         | yes                         | yes                                    | yes                         | not pending     |
//! | Disabled        | `DisabledException`         | yes                                    | yes                         | not pending     |
//! | PendingDeletion | pending deletion            | pending deletion                       | pending deletion            | yes             |
//! | PendingImport   | pending import              | yes                                    | pending import              | not pending     |
//!
//! All but the first refusal are `KMSInvalidStateException`s. Looking at a key, and removing its
//! aliases, grants or imported material, is allowed in every state.

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
    /// Its material is to be imported, or to be imported again: it follows from the materials.
    PendingImport,
}

/// What an operation needs of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Its material.
    Use,
    /// To change it: describe, tag, alias, import its material, schedule its deletion.
    Change,
    /// To enable or disable it, or to see its public half.
    Toggle,
    /// That its deletion is pending.
    Cancel,
    /// Nothing: to remove its aliases, grants, imported material.
    Any,
}

impl KeyState {
    /// `KeyState` as the API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
        }
    }

    /// The stored byte.
    pub(super) const fn to_byte(self) -> u8 {
        match self {
            Self::Enabled => 0,
            Self::Disabled => 1,
            Self::PendingDeletion => 2,
            Self::PendingImport => 3,
        }
    }

    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Enabled),
            1 => Some(Self::Disabled),
            2 => Some(Self::PendingDeletion),
            3 => Some(Self::PendingImport),
            _ => None,
        }
    }

    /// Whether the state allows what is needed of the key `arn`.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`, in AWS's words.
    pub fn allow(self, need: Need, arn: &str) -> Result<(), KmsError> {
        let invalid = |why: &str| Err(KmsErrorKind::InvalidState.with(format!("{arn} is {why}.")));
        match (self, need) {
            (Self::Enabled, Need::Use | Need::Change | Need::Toggle)
            | (Self::Disabled, Need::Change | Need::Toggle)
            | (Self::PendingImport, Need::Change)
            | (Self::PendingDeletion, Need::Cancel)
            | (_, Need::Any) => Ok(()),
            (Self::Disabled, Need::Use) => Err(KmsErrorKind::Disabled.with(format!("{arn} is disabled."))),
            (Self::PendingDeletion, Need::Use | Need::Change | Need::Toggle) => invalid("pending deletion"),
            (Self::PendingImport, Need::Use | Need::Toggle) => invalid("pending import"),
            (Self::Enabled | Self::Disabled | Self::PendingImport, Need::Cancel) => invalid("not pending deletion"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds() {
        use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
        const DISABLED: Option<&str> = Some("DisabledException: ARN is disabled.");
        const DELETION: Option<&str> = Some("KMSInvalidStateException: ARN is pending deletion.");
        const IMPORT: Option<&str> = Some("KMSInvalidStateException: ARN is pending import.");
        const NOT: Option<&str> = Some("KMSInvalidStateException: ARN is not pending deletion.");
        let table = [
            (Enabled, [None, None, None, NOT]),
            (Disabled, [DISABLED, None, None, NOT]),
            (PendingDeletion, [DELETION, DELETION, DELETION, None]),
            (PendingImport, [IMPORT, None, IMPORT, NOT]),
        ];
        for (state, expected) in table {
            assert!(state.allow(Need::Any, "ARN").is_ok());
            for (need, expected) in [Need::Use, Need::Change, Need::Toggle, Need::Cancel].into_iter().zip(expected) {
                let refusal = state.allow(need, "ARN").err();
                let told = refusal.map(|error| format!("{}: {}", error.kind.code(), error.message));
                assert_eq!(told.as_deref(), expected, "{state:?} {need:?}");
            }
            assert_eq!(KeyState::from_byte(state.to_byte()), Some(state));
        }
        assert_eq!(KeyState::from_byte(9), None);
    }
}
