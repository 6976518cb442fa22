//! The table of IAM's and STS's operations. `tests/clients/test_iam_model.py` holds it against the models that AWS
//! publishes with botocore.

use super::handlers::Handler;
use crate::sigv4;

/// The service that an operation is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Identity and Access Management.
    Iam,
    /// The Security Token Service.
    Sts,
}

/// A row of the table.
#[derive(Debug)]
pub struct Operation {
    /// Its name in AWS's model.
    pub name: &'static str,
    /// Whose it is.
    pub service: Service,
    /// The IAM action that must be allowed.
    pub action: &'static str,
    /// Of what.
    pub on: On,
    /// Who does it; `None`: it is not offered (`InvalidAction`).
    pub handler: Option<Handler>,
}

/// What an operation's action must be allowed of. (Service authorization reference, "Actions defined by AWS IAM".)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    /// Whatever there is: `*`.
    All,
    /// Nothing: everybody who signs may.
    Anybody,
    /// The group that `GroupName` names; of a list, those below `PathPrefix`.
    Group,
    /// Managed policies, as a list.
    Policies,
    /// The managed policy that `PolicyArn` names, or that `Path` and `PolicyName` will make.
    Policy,
    /// The OpenID Connect provider that `OpenIDConnectProviderArn` names, or that `Url` will make.
    Provider,
    /// The role that `RoleName` names; of a list, those below `PathPrefix`.
    Role,
    /// What `PolicySourceArn` names.
    Source,
    /// The role that `RoleArn` names, whose own document decides too.
    Trust,
    /// The user that `UserName` names, or else who asks; of a list, those below `PathPrefix`.
    User,
    /// The user of the key that `AccessKeyId` names.
    UserOfKey,
}

impl Service {
    /// The namespace of its documents.
    pub(super) const fn namespace(self) -> &'static str {
        match self {
            Self::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }

    /// The version of its API, which requests name.
    pub(super) const fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
        }
    }

    /// As signatures name it.
    pub(super) const fn signed(self) -> sigv4::Service {
        match self {
            Self::Iam => sigv4::Service::IAM,
            Self::Sts => sigv4::Service::STS,
        }
    }

    /// As events name it.
    pub(super) const fn event_source(self) -> &'static str {
        match self {
            Self::Iam => "iam.amazonaws.com",
            Self::Sts => "sts.amazonaws.com",
        }
    }
}

macro_rules! operations {
    ($($service:ident $prefix:literal served { $($on:ident $served:ident;)* } refused { $($refused:ident)* })*) => {
        /// Every operation of both services.
        pub static OPERATIONS: &[Operation] = &[
            $(
                $(Operation {
                    name: stringify!($served),
                    service: Service::$service,
                    action: concat!($prefix, stringify!($served)),
                    on: On::$on,
                    handler: Some(Handler::$served),
                },)*
                $(Operation {
                    name: stringify!($refused),
                    service: Service::$service,
                    action: concat!($prefix, stringify!($refused)),
                    on: On::All,
                    handler: None,
                },)*
            )*
        ];
    };
}

operations! {
    Iam "iam:" served {
        Provider AddClientIDToOpenIDConnectProvider;
        Group AddUserToGroup;
        Group AttachGroupPolicy;
        Role AttachRolePolicy;
        User AttachUserPolicy;
        User CreateAccessKey;
        All CreateAccountAlias;
        Group CreateGroup;
        Provider CreateOpenIDConnectProvider;
        Policy CreatePolicy;
        Policy CreatePolicyVersion;
        Role CreateRole;
        User CreateUser;
        User DeleteAccessKey;
        All DeleteAccountAlias;
        All DeleteAccountPasswordPolicy;
        Group DeleteGroup;
        Group DeleteGroupPolicy;
        User DeleteLoginProfile;
        Provider DeleteOpenIDConnectProvider;
        Policy DeletePolicy;
        Policy DeletePolicyVersion;
        Role DeleteRole;
        Role DeleteRolePermissionsBoundary;
        Role DeleteRolePolicy;
        User DeleteUser;
        User DeleteUserPermissionsBoundary;
        User DeleteUserPolicy;
        Group DetachGroupPolicy;
        Role DetachRolePolicy;
        User DetachUserPolicy;
        UserOfKey GetAccessKeyLastUsed;
        All GetAccountAuthorizationDetails;
        All GetAccountPasswordPolicy;
        All GetAccountSummary;
        All GetContextKeysForCustomPolicy;
        Source GetContextKeysForPrincipalPolicy;
        Group GetGroup;
        Group GetGroupPolicy;
        User GetLoginProfile;
        Provider GetOpenIDConnectProvider;
        Policy GetPolicy;
        Policy GetPolicyVersion;
        Role GetRole;
        Role GetRolePolicy;
        User GetUser;
        User GetUserPolicy;
        User ListAccessKeys;
        All ListAccountAliases;
        Group ListAttachedGroupPolicies;
        Role ListAttachedRolePolicies;
        User ListAttachedUserPolicies;
        Policy ListEntitiesForPolicy;
        Group ListGroupPolicies;
        Group ListGroups;
        User ListGroupsForUser;
        All ListInstanceProfiles;
        Role ListInstanceProfilesForRole;
        User ListMFADevices;
        Provider ListOpenIDConnectProviderTags;
        All ListOpenIDConnectProviders;
        Policies ListPolicies;
        Policy ListPolicyTags;
        Policy ListPolicyVersions;
        Role ListRolePolicies;
        Role ListRoleTags;
        Role ListRoles;
        All ListSAMLProviders;
        User ListSSHPublicKeys;
        All ListServerCertificates;
        User ListServiceSpecificCredentials;
        User ListSigningCertificates;
        User ListUserPolicies;
        User ListUserTags;
        User ListUsers;
        All ListVirtualMFADevices;
        Group PutGroupPolicy;
        Role PutRolePermissionsBoundary;
        Role PutRolePolicy;
        User PutUserPermissionsBoundary;
        User PutUserPolicy;
        Provider RemoveClientIDFromOpenIDConnectProvider;
        Group RemoveUserFromGroup;
        Policy SetDefaultPolicyVersion;
        All SimulateCustomPolicy;
        Source SimulatePrincipalPolicy;
        Provider TagOpenIDConnectProvider;
        Policy TagPolicy;
        Role TagRole;
        User TagUser;
        Provider UntagOpenIDConnectProvider;
        Policy UntagPolicy;
        Role UntagRole;
        User UntagUser;
        User UpdateAccessKey;
        Role UpdateAssumeRolePolicy;
        Group UpdateGroup;
        Provider UpdateOpenIDConnectProviderThumbprint;
        Role UpdateRole;
        Role UpdateRoleDescription;
        User UpdateUser;
    } refused {
            AcceptDelegationRequest AcquireRole AddRoleToInstanceProfile AssociateDelegationRequest ChangePassword
            CreateDelegationRequest CreateInstanceProfile CreateLoginProfile CreateSAMLProvider CreateServiceLinkedRole
            CreateServiceSpecificCredential CreateVirtualMFADevice DeactivateMFADevice DeleteInstanceProfile
            DeleteSAMLProvider DeleteSSHPublicKey DeleteServerCertificate DeleteServiceLinkedRole
            DeleteServiceSpecificCredential DeleteSigningCertificate DeleteVirtualMFADevice
            DisableOrganizationsRootCredentialsManagement DisableOrganizationsRootSessions
            DisableOutboundWebIdentityFederation EnableMFADevice EnableOrganizationsRootCredentialsManagement
            EnableOrganizationsRootSessions EnableOutboundWebIdentityFederation GenerateCredentialReport
            GenerateOrganizationsAccessReport GenerateServiceLastAccessedDetails GetAccountProperties
            GetCredentialReport GetDelegationRequest GetHumanReadableSummary GetInstanceProfile GetMFADevice
            GetOrganizationsAccessReport GetOutboundWebIdentityFederationInfo GetRoleTemplateVersion GetSAMLProvider
            GetSSHPublicKey GetServerCertificate GetServiceLastAccessedDetails GetServiceLastAccessedDetailsWithEntities
            GetServiceLinkedRoleDeletionStatus ListDelegationRequests ListInstanceProfileTags ListMFADeviceTags
            ListOrganizationsFeatures ListPoliciesGrantingServiceAccess ListSAMLProviderTags ListServerCertificateTags
            PutAccountProperties RejectDelegationRequest RemoveRoleFromInstanceProfile ResetServiceSpecificCredential
            ResyncMFADevice SendDelegationToken SetSecurityTokenServicePreferences TagInstanceProfile TagMFADevice
            TagSAMLProvider TagServerCertificate UntagInstanceProfile UntagMFADevice UntagSAMLProvider
            UntagServerCertificate UpdateAccountPasswordPolicy UpdateDelegationRequest UpdateLoginProfile
            UpdateOpenIDConnectProvider UpdateSAMLProvider UpdateSSHPublicKey UpdateServerCertificate
            UpdateServiceSpecificCredential UpdateSigningCertificate UploadSSHPublicKey UploadServerCertificate
            UploadSigningCertificate
    }
    Sts "sts:" served {
        Trust AssumeRole;
        Trust AssumeRoleWithWebIdentity;
        All GetAccessKeyInfo;
        Anybody GetCallerIdentity;
        All GetFederationToken;
        Anybody GetSessionToken;
    } refused {
            AssumeRoleWithSAML AssumeRoot DecodeAuthorizationMessage GetDelegatedAccessToken GetScopedCredentials
            GetWebIdentityToken
    }
}

impl Operation {
    /// The operation called `name`.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        // STS changes nothing: CloudTrail's events of it say so.
        self.service == Service::Sts || ["Get", "List", "Simulate"].iter().any(|prefix| self.name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for operation in OPERATIONS {
            assert!(std::ptr::eq(Operation::by_name(operation.name).unwrap(), operation), "{}", operation.name);
        }
        assert!(Operation::by_name("MadeUp").is_none());
    }
}
