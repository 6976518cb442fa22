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
    served CreateAlias;
    served CreateGrant;
    served CreateKey;
    served Decrypt;
    served DeleteAlias;
    served DeleteImportedKeyMaterial;
    served DeriveSharedSecret;
    served DescribeKey;
    served DisableKey;
    served DisableKeyRotation;
    served EnableKey;
    served EnableKeyRotation;
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
    served RetireGrant;
    served RevokeGrant;
    served RotateKeyOnDemand;
    served ScheduleKeyDeletion;
    served Sign;
    served TagResource;
    served UntagResource;
    served UpdateAlias;
    served UpdateKeyDescription;
    served Verify;
    served VerifyMac;
    refused ConnectCustomKeyStore;
    refused CreateCustomKeyStore;
    refused Decapsulate;
    refused DeleteCustomKeyStore;
    refused DescribeCustomKeyStores;
    refused DisconnectCustomKeyStore;
    refused Encapsulate;
    refused ReplicateKey;
    refused UpdateCustomKeyStore;
    refused UpdatePrimaryRegion;
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
