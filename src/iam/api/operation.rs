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
    /// The members of its request: none but these are read.
    pub members: &'static [&'static str],
    /// Who does it; `None`: it is not offered (`InvalidAction`).
    pub handler: Option<Handler>,
}

/// What an operation's action must be allowed of. (Service authorization reference, "Actions defined by AWS IAM".)
/// Each kind is named by members of its own, which are the same for every operation of the kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    /// Whatever there is: `*`.
    All,
    /// Nothing: everybody who signs may.
    Anybody,
    /// The federated user that `Name` will make.
    FederatedUser,
    /// The group that `GroupName` names.
    Group,
    /// Groups as a list, of those below `PathPrefix`.
    Groups,
    /// The instance profile that `InstanceProfileName` names.
    InstanceProfile,
    /// Instance profiles as a list, of those below `PathPrefix`.
    InstanceProfiles,
    /// The group that `Path` and `GroupName` will make.
    NewGroup,
    /// The instance profile that `Path` and `InstanceProfileName` will make.
    NewInstanceProfile,
    /// The managed policy that `Path` and `PolicyName` will make.
    NewPolicy,
    /// The OpenID Connect provider that `Url` will make.
    NewProvider,
    /// The role that `Path` and `RoleName` will make.
    NewRole,
    /// The user that `Path` and `UserName` will make.
    NewUser,
    /// Managed policies, as a list.
    Policies,
    /// The managed policy that `PolicyArn` names.
    Policy,
    /// The OpenID Connect provider that `OpenIDConnectProviderArn` names.
    Provider,
    /// The role that `RoleName` names.
    Role,
    /// Roles as a list, of those below `PathPrefix`.
    Roles,
    /// What `PolicySourceArn` names.
    Source,
    /// The role that `RoleArn` names, whose own document decides too.
    Trust,
    /// The user that `UserName` names, or else who asks.
    User,
    /// The user of the key that `AccessKeyId` names.
    UserOfKey,
    /// Users as a list, of those below `PathPrefix`.
    Users,
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
    ($($service:ident $prefix:literal served { $($on:ident $served:ident [$($member:ident)*];)* } refused { $($refused:ident)* })*) => {
        /// Every operation of both services.
        pub static OPERATIONS: &[Operation] = &[
            $(
                $(Operation {
                    name: stringify!($served),
                    service: Service::$service,
                    action: concat!($prefix, stringify!($served)),
                    on: On::$on,
                    members: &[$(stringify!($member)),*],
                    handler: Some(Handler::$served),
                },)*
                $(Operation {
                    name: stringify!($refused),
                    service: Service::$service,
                    action: concat!($prefix, stringify!($refused)),
                    on: On::All,
                    members: &[],
                    handler: None,
                },)*
            )*
        ];
    };
}

operations! {
    Iam "iam:" served {
        Provider AddClientIDToOpenIDConnectProvider [ClientID OpenIDConnectProviderArn];
        InstanceProfile AddRoleToInstanceProfile [InstanceProfileName RoleName];
        Group AddUserToGroup [GroupName UserName];
        Group AttachGroupPolicy [GroupName PolicyArn];
        Role AttachRolePolicy [PolicyArn RoleName];
        User AttachUserPolicy [PolicyArn UserName];
        User CreateAccessKey [UserName];
        All CreateAccountAlias [AccountAlias];
        NewGroup CreateGroup [GroupName Path];
        NewInstanceProfile CreateInstanceProfile [InstanceProfileName Path Tags];
        NewProvider CreateOpenIDConnectProvider [
            ClientIDList ContextProvider IdentityCenterInstanceArn Tags ThumbprintList Url
        ];
        NewPolicy CreatePolicy [Description Path PolicyDocument PolicyName Tags];
        Policy CreatePolicyVersion [PolicyArn PolicyDocument SetAsDefault];
        NewRole CreateRole [
            AssumeRolePolicyDocument Description MaxSessionDuration MaxSigninSessionDuration Path PermissionsBoundary
            RoleName Tags
        ];
        NewUser CreateUser [Path PermissionsBoundary Tags UserName];
        User DeleteAccessKey [AccessKeyId UserName];
        All DeleteAccountAlias [AccountAlias];
        All DeleteAccountPasswordPolicy [];
        Group DeleteGroup [GroupName];
        Group DeleteGroupPolicy [GroupName PolicyName];
        InstanceProfile DeleteInstanceProfile [InstanceProfileName];
        User DeleteLoginProfile [UserName];
        Provider DeleteOpenIDConnectProvider [OpenIDConnectProviderArn];
        Policy DeletePolicy [PolicyArn];
        Policy DeletePolicyVersion [PolicyArn VersionId];
        Role DeleteRole [RoleName];
        Role DeleteRolePermissionsBoundary [RoleName];
        Role DeleteRolePolicy [PolicyName RoleName];
        User DeleteUser [UserName];
        User DeleteUserPermissionsBoundary [UserName];
        User DeleteUserPolicy [PolicyName UserName];
        Group DetachGroupPolicy [GroupName PolicyArn];
        Role DetachRolePolicy [PolicyArn RoleName];
        User DetachUserPolicy [PolicyArn UserName];
        UserOfKey GetAccessKeyLastUsed [AccessKeyId];
        All GetAccountAuthorizationDetails [Filter Marker MaxItems];
        All GetAccountPasswordPolicy [];
        All GetAccountSummary [];
        All GetContextKeysForCustomPolicy [PolicyInputList];
        Source GetContextKeysForPrincipalPolicy [PolicyInputList PolicySourceArn];
        Group GetGroup [GroupName Marker MaxItems];
        Group GetGroupPolicy [GroupName PolicyName];
        InstanceProfile GetInstanceProfile [InstanceProfileName];
        User GetLoginProfile [UserName];
        Provider GetOpenIDConnectProvider [OpenIDConnectProviderArn];
        Policy GetPolicy [PolicyArn];
        Policy GetPolicyVersion [PolicyArn VersionId];
        Role GetRole [RoleName];
        Role GetRolePolicy [PolicyName RoleName];
        User GetUser [UserName];
        User GetUserPolicy [PolicyName UserName];
        User ListAccessKeys [Marker MaxItems UserName];
        All ListAccountAliases [Marker MaxItems];
        Group ListAttachedGroupPolicies [GroupName Marker MaxItems PathPrefix];
        Role ListAttachedRolePolicies [Marker MaxItems PathPrefix RoleName];
        User ListAttachedUserPolicies [Marker MaxItems PathPrefix UserName];
        Policy ListEntitiesForPolicy [EntityFilter Marker MaxItems PathPrefix PolicyArn PolicyUsageFilter];
        Group ListGroupPolicies [GroupName Marker MaxItems];
        Groups ListGroups [Marker MaxItems PathPrefix];
        User ListGroupsForUser [Marker MaxItems UserName];
        InstanceProfile ListInstanceProfileTags [InstanceProfileName Marker MaxItems];
        InstanceProfiles ListInstanceProfiles [Marker MaxItems PathPrefix];
        Role ListInstanceProfilesForRole [Marker MaxItems RoleName];
        User ListMFADevices [Marker MaxItems UserName];
        Provider ListOpenIDConnectProviderTags [Marker MaxItems OpenIDConnectProviderArn];
        All ListOpenIDConnectProviders [];
        Policies ListPolicies [Marker MaxItems OnlyAttached PathPrefix PolicyUsageFilter Scope];
        Policy ListPolicyTags [Marker MaxItems PolicyArn];
        Policy ListPolicyVersions [Marker MaxItems PolicyArn];
        Role ListRolePolicies [Marker MaxItems RoleName];
        Role ListRoleTags [Marker MaxItems RoleName];
        Roles ListRoles [Marker MaxItems PathPrefix];
        All ListSAMLProviders [];
        User ListSSHPublicKeys [Marker MaxItems UserName];
        All ListServerCertificates [Marker MaxItems PathPrefix];
        User ListServiceSpecificCredentials [AllUsers Marker MaxItems ServiceName UserName];
        User ListSigningCertificates [Marker MaxItems UserName];
        User ListUserPolicies [Marker MaxItems UserName];
        User ListUserTags [Marker MaxItems UserName];
        Users ListUsers [Marker MaxItems PathPrefix];
        All ListVirtualMFADevices [AssignmentStatus Marker MaxItems];
        Group PutGroupPolicy [GroupName PolicyDocument PolicyName];
        Role PutRolePermissionsBoundary [PermissionsBoundary RoleName];
        Role PutRolePolicy [PolicyDocument PolicyName RoleName];
        User PutUserPermissionsBoundary [PermissionsBoundary UserName];
        User PutUserPolicy [PolicyDocument PolicyName UserName];
        Provider RemoveClientIDFromOpenIDConnectProvider [ClientID OpenIDConnectProviderArn];
        InstanceProfile RemoveRoleFromInstanceProfile [InstanceProfileName RoleName];
        Group RemoveUserFromGroup [GroupName UserName];
        Policy SetDefaultPolicyVersion [PolicyArn VersionId];
        All SimulateCustomPolicy [
            ActionNames CallerArn ContextEntries Marker MaxItems OrderedOrganizationPolicyInputList
            PermissionsBoundaryPolicyInputList PolicyInputList ResourceArns ResourceHandlingOption ResourceOwner
            ResourcePolicy
        ];
        Source SimulatePrincipalPolicy [
            ActionNames CallerArn ContextEntries Marker MaxItems PermissionsBoundaryPolicyInputList PolicyExclusionList
            PolicyInputList PolicySourceArn ResourceArns ResourceHandlingOption ResourceOwner ResourcePolicy
        ];
        InstanceProfile TagInstanceProfile [InstanceProfileName Tags];
        Provider TagOpenIDConnectProvider [OpenIDConnectProviderArn Tags];
        Policy TagPolicy [PolicyArn Tags];
        Role TagRole [RoleName Tags];
        User TagUser [Tags UserName];
        InstanceProfile UntagInstanceProfile [InstanceProfileName TagKeys];
        Provider UntagOpenIDConnectProvider [OpenIDConnectProviderArn TagKeys];
        Policy UntagPolicy [PolicyArn TagKeys];
        Role UntagRole [RoleName TagKeys];
        User UntagUser [TagKeys UserName];
        User UpdateAccessKey [AccessKeyId Status UserName];
        Role UpdateAssumeRolePolicy [PolicyDocument RoleName];
        Group UpdateGroup [GroupName NewGroupName NewPath];
        Provider UpdateOpenIDConnectProviderThumbprint [OpenIDConnectProviderArn ThumbprintList];
        Role UpdateRole [
            Description MaxSessionDuration MaxSigninSessionDuration ResetMaxSigninSessionDuration RoleName
        ];
        Role UpdateRoleDescription [Description RoleName];
        User UpdateUser [NewPath NewUserName UserName];
    } refused {
            AcceptDelegationRequest AcquireRole AssociateDelegationRequest ChangePassword CreateDelegationRequest
            CreateLoginProfile CreateSAMLProvider CreateServiceLinkedRole CreateServiceSpecificCredential
            CreateVirtualMFADevice DeactivateMFADevice DeleteSAMLProvider DeleteSSHPublicKey DeleteServerCertificate
            DeleteServiceLinkedRole DeleteServiceSpecificCredential DeleteSigningCertificate DeleteVirtualMFADevice
            DisableOrganizationsRootCredentialsManagement DisableOrganizationsRootSessions
            DisableOutboundWebIdentityFederation EnableMFADevice EnableOrganizationsRootCredentialsManagement
            EnableOrganizationsRootSessions EnableOutboundWebIdentityFederation GenerateCredentialReport
            GenerateOrganizationsAccessReport GenerateServiceLastAccessedDetails GetAccountProperties
            GetCredentialReport GetDelegationRequest GetHumanReadableSummary GetMFADevice GetOrganizationsAccessReport
            GetOutboundWebIdentityFederationInfo GetRoleTemplateVersion GetSAMLProvider GetSSHPublicKey
            GetServerCertificate GetServiceLastAccessedDetails GetServiceLastAccessedDetailsWithEntities
            GetServiceLinkedRoleDeletionStatus ListDelegationRequests ListMFADeviceTags ListOrganizationsFeatures
            ListPoliciesGrantingServiceAccess ListSAMLProviderTags ListServerCertificateTags PutAccountProperties
            RejectDelegationRequest ResetServiceSpecificCredential ResyncMFADevice SendDelegationToken
            SetSecurityTokenServicePreferences TagMFADevice TagSAMLProvider TagServerCertificate UntagMFADevice
            UntagSAMLProvider UntagServerCertificate UpdateAccountPasswordPolicy UpdateDelegationRequest
            UpdateLoginProfile UpdateOpenIDConnectProvider UpdateSAMLProvider UpdateSSHPublicKey UpdateServerCertificate
            UpdateServiceSpecificCredential UpdateSigningCertificate UploadSSHPublicKey UploadServerCertificate
            UploadSigningCertificate
    }
    Sts "sts:" served {
        Trust AssumeRole [
            DurationSeconds ExternalId MinimumSessionTokenSize Policy PolicyArns ProvidedContexts RoleArn
            RoleSessionName SerialNumber SourceIdentity Tags TokenCode TransitiveTagKeys
        ];
        Trust AssumeRoleWithWebIdentity [
            DurationSeconds MinimumSessionTokenSize Policy PolicyArns ProviderId RoleArn RoleSessionName
            WebIdentityToken
        ];
        All GetAccessKeyInfo [AccessKeyId];
        Anybody GetCallerIdentity [];
        FederatedUser GetFederationToken [DurationSeconds MinimumSessionTokenSize Name Policy PolicyArns Tags];
        Anybody GetSessionToken [DurationSeconds MinimumSessionTokenSize SerialNumber TokenCode];
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

    /// Whether it is a token that tells who asks, and no signature.
    pub(super) fn is_by_token(&self) -> bool {
        self.name == "AssumeRoleWithWebIdentity"
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
