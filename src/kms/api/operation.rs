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
    /// Whether it is offered.
    pub offer: Offer,
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
    ($(served $served:ident;)* $(refused $refused:ident;)*) => {
        /// Every operation of the service.
        pub static OPERATIONS: &[Operation] = &[
            $(Operation {
                name: stringify!($served),
                action: concat!("kms:", stringify!($served)),
                offer: Offer::Served(Handler::$served),
            },)*
            $(Operation {
                name: stringify!($refused),
                action: concat!("kms:", stringify!($refused)),
                offer: Offer::Refused,
            },)*
        ];
    };
}

operations! {
    served CancelKeyDeletion;
    served ConnectCustomKeyStore;
    served CreateAlias;
    served CreateGrant;
    served CreateKey;
    served Decapsulate;
    served Decrypt;
    served DeleteAlias;
    served DeleteCustomKeyStore;
    served DeleteImportedKeyMaterial;
    served DeriveSharedSecret;
    served DescribeCustomKeyStores;
    served DescribeKey;
    served DisableKey;
    served DisableKeyRotation;
    served DisconnectCustomKeyStore;
    served EnableKey;
    served EnableKeyRotation;
    served Encapsulate;
    served Encrypt;
    served GenerateDataKey;
    served GenerateDataKeyPair;
    served GenerateDataKeyPairWithoutPlaintext;
    served GenerateDataKeyWithoutPlaintext;
    served GenerateMac;
    served GenerateRandom;
    served GetKeyLastUsage;
    served GetKeyPolicy;
    served GetKeyRotationStatus;
    served GetParametersForImport;
    served GetPublicKey;
    served ImportKeyMaterial;
    served ListAliases;
    served ListGrants;
    served ListKeyPolicies;
    served ListKeyRotations;
    served ListKeys;
    served ListResourceTags;
    served ListRetirableGrants;
    served PutKeyPolicy;
    served ReEncrypt;
    served ReplicateKey;
    served RetireGrant;
    served RevokeGrant;
    served RotateKeyOnDemand;
    served ScheduleKeyDeletion;
    served Sign;
    served TagResource;
    served UntagResource;
    served UpdateAlias;
    served UpdateCustomKeyStore;
    served UpdateKeyDescription;
    served UpdatePrimaryRegion;
    served Verify;
    served VerifyMac;
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
