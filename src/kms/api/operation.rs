//! The table of KMS operations. `tests/clients/test_model.py` holds it against the model that AWS publishes with
//! botocore.

use super::handlers::Handler;

/// A row of the table.
#[derive(Debug)]
pub struct Operation {
    /// Its name in AWS's model.
    pub name: &'static str,
    /// The IAM action that must be allowed.
    pub action: &'static str,
    /// What must be allowed of.
    pub subject: Subject,
    /// Whether it is offered.
    pub offer: Offer,
}

/// What an operation is about. (Service authorization reference, "Actions defined by AWS KMS": resource types.)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A key, whose policy and grants decide beside the caller's own policies.
    Key,
    /// An alias, beside its key.
    Alias,
    /// All of the account: the caller's own policies decide.
    Account,
}

/// Whether an operation is offered.
#[derive(Clone, Copy, Debug)]
pub enum Offer {
    /// By this handler.
    Served(Handler),
    /// `UnsupportedOperationException`.
    Refused,
}

macro_rules! operations {
    ($(served $served:ident $subject:ident;)* $(refused $refused:ident;)*) => {
        /// Every operation of the service.
        pub static OPERATIONS: &[Operation] = &[
            $(Operation {
                name: stringify!($served),
                action: concat!("kms:", stringify!($served)),
                subject: Subject::$subject,
                offer: Offer::Served(Handler::$served),
            },)*
            $(Operation {
                name: stringify!($refused),
                action: concat!("kms:", stringify!($refused)),
                subject: Subject::Account,
                offer: Offer::Refused,
            },)*
        ];
    };
}

operations! {
    served CancelKeyDeletion Key;
    served ConnectCustomKeyStore Account;
    served CreateAlias Alias;
    served CreateGrant Key;
    served CreateKey Account;
    served Decapsulate Key;
    served Decrypt Key;
    served DeleteAlias Alias;
    served DeleteCustomKeyStore Account;
    served DeleteImportedKeyMaterial Key;
    served DeriveSharedSecret Key;
    served DescribeCustomKeyStores Account;
    served DescribeKey Key;
    served DisableKey Key;
    served DisableKeyRotation Key;
    served DisconnectCustomKeyStore Account;
    served EnableKey Key;
    served EnableKeyRotation Key;
    served Encapsulate Key;
    served Encrypt Key;
    served GenerateDataKey Key;
    served GenerateDataKeyPair Key;
    served GenerateDataKeyPairWithoutPlaintext Key;
    served GenerateDataKeyWithoutPlaintext Key;
    served GenerateMac Key;
    served GenerateRandom Account;
    served GetKeyLastUsage Key;
    served GetKeyPolicy Key;
    served GetKeyRotationStatus Key;
    served GetParametersForImport Key;
    served GetPublicKey Key;
    served ImportKeyMaterial Key;
    served ListAliases Account;
    served ListGrants Key;
    served ListKeyPolicies Key;
    served ListKeyRotations Key;
    served ListKeys Account;
    served ListResourceTags Key;
    served ListRetirableGrants Account;
    served PutKeyPolicy Key;
    served ReEncrypt Key;
    served ReplicateKey Key;
    served RetireGrant Key;
    served RevokeGrant Key;
    served RotateKeyOnDemand Key;
    served ScheduleKeyDeletion Key;
    served Sign Key;
    served TagResource Key;
    served UntagResource Key;
    served UpdateAlias Alias;
    served UpdateCustomKeyStore Account;
    served UpdateKeyDescription Key;
    served UpdatePrimaryRegion Key;
    served Verify Key;
    served VerifyMac Key;
    refused CreateCustomKeyStore;
}

impl Operation {
    /// The operation called `name`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for operation in OPERATIONS {
            assert!(std::ptr::eq(Operation::by_name(operation.name).unwrap(), operation));
            assert_eq!(operation.action, format!("kms:{}", operation.name));
        }
        assert!(Operation::by_name("MadeUp").is_none());
    }
}
