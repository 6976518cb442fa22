//! AWS's documented example policies, each with requests that it lets through and requests that it does not.
//!
//! A case is a line: who, the action, the resource, circumstances `key=value`, and after `=>` what is decided: `allow`, `deny`
//! (a statement denies it) or `none` (nothing allows it). `own:` is the account 111122223333, which owns all resources, `other:`
//! is 444455556666; of a bucket policy the bucket is `b`.

use super::{OTHER, OWNER};
use crate::policy::*;

struct Example {
    /// The page, and the example's name there.
    of: &'static str,
    kind: Kind<'static>,
    /// The document; of one that is no object, the one statement of such.
    policy: &'static str,
    cases: &'static str,
}

const BUCKET: Kind<'static> = Kind::Bucket("arn:aws:s3:::b");

const EXAMPLES: &[Example] = &[
    Example {
        of: "S3: Bucket policy examples, requiring SSE-KMS on every object",
        kind: BUCKET,
        policy: r#""Sid": "DenyObjectsThatAreNotSSEKMS", "Principal": "*", "Effect": "Deny", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {"Null": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "true"}}"#,
        cases: "
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:r:1:key/1 => allow
            own:root s3:PutObject b/k => deny
            own:root s3:GetObject b/k => allow
            other:root s3:PutObject b/k s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:r:1:key/1 => none",
    },
    Example {
        of: "S3: Using server-side encryption with AWS KMS keys, require aws:kms",
        kind: BUCKET,
        policy: r#""Sid": "DenyUnEncryptedObjectUploads", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}"#,
        cases: "
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption=aws:kms => allow
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption=AES256 => deny
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption=aws:kms:dsse => deny
            own:root s3:PutObject b/k => deny
            own:user/alice s3:PutObject b/k => deny
            anonymous s3:PutObject b/k => deny
            anonymous s3:PutObject b/k s3:x-amz-server-side-encryption=aws:kms => none",
    },
    Example {
        of: "S3: Using server-side encryption with AWS KMS keys, require one KMS key",
        kind: BUCKET,
        policy: r#""Sid": "DenyObjectsThatAreNotSSEKMSWithSpecificKey", "Principal": "*", "Effect": "Deny", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {"ArnNotEqualsIfExists":
            {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-2:111122223333:key/01234567"}}"#,
        cases: "
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:us-east-2:111122223333:key/01234567 => allow
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption-aws-kms-key-id=arn:aws:kms:us-east-2:111122223333:key/76543210 => deny
            own:root s3:PutObject b/k => deny",
    },
    Example {
        of: "S3: Using server-side encryption with customer-provided keys, block SSE-C",
        kind: BUCKET,
        policy: r#""Sid": "DenySSECEncryptedObjects", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}"#,
        cases: "
            own:root s3:PutObject b/k => allow
            own:root s3:PutObject b/k s3:x-amz-server-side-encryption-customer-algorithm=AES256 => deny",
    },
    Example {
        of: "S3: Bucket policy examples, grant access to multiple accounts with a canned ACL",
        kind: BUCKET,
        policy: r#""Sid": "AddPublicReadCannedAcl", "Effect": "Allow", "Principal": {"AWS":
            ["arn:aws:iam::444455556666:root", "arn:aws:iam::222233334444:root"]}, "Action": ["s3:PutObject", "s3:PutObjectAcl"],
            "Resource": "arn:aws:s3:::b/*", "Condition": {"StringEquals": {"s3:x-amz-acl": ["public-read"]}}"#,
        cases: "
            other:root s3:PutObject b/k s3:x-amz-acl=public-read => allow
            other:root s3:PutObjectAcl b/k s3:x-amz-acl=public-read => allow
            222233334444:root s3:PutObject b/k s3:x-amz-acl=public-read => allow
            333344445555:root s3:PutObject b/k s3:x-amz-acl=public-read => none
            other:root s3:PutObject b/k s3:x-amz-acl=private => none
            other:root s3:PutObject b/k => none
            other:root s3:GetObject b/k s3:x-amz-acl=public-read => none
            other:user/bob s3:PutObject b/k s3:x-amz-acl=public-read => none",
    },
    Example {
        of: "S3: Bucket policy examples, full control for the bucket owner",
        kind: BUCKET,
        policy: r#""Sid": "PolicyForAllowUploadWithACL", "Effect": "Allow", "Principal": {"AWS": "444455556666"},
            "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}"#,
        cases: "
            other:root s3:PutObject b/k s3:x-amz-acl=bucket-owner-full-control => allow
            other:root s3:PutObject b/k => none
            other:root s3:DeleteObject b/k s3:x-amz-acl=bucket-owner-full-control => none",
    },
    Example {
        of: "S3: Bucket policy examples, only requests over HTTPS",
        kind: BUCKET,
        policy: r#""Sid": "RestrictToTLSRequestsOnly", "Action": "s3:*", "Effect": "Deny",
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": {"Bool": {"aws:SecureTransport": "false"}}, "Principal": "*""#,
        cases: "
            own:root s3:GetObject b/k aws:SecureTransport=false => deny
            own:root s3:ListBucket b aws:SecureTransport=false => deny
            own:root s3:GetObject b/k aws:SecureTransport=true => allow
            anonymous s3:GetObject b/k aws:SecureTransport=true => none
            anonymous s3:GetObject b/k aws:SecureTransport=false => deny",
    },
    Example {
        of: "S3: Bucket policy examples, managing access based on IP addresses",
        kind: BUCKET,
        policy: r#""Sid": "IPAllow", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": {"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#,
        cases: "
            own:root s3:GetObject b/k aws:SourceIp=192.0.2.17 => allow
            own:root s3:GetObject b/k aws:SourceIp=192.0.3.17 => deny
            own:root s3:ListBucket b aws:SourceIp=2001:db8::1 => deny
            own:root s3:GetObject b/k => deny",
    },
    Example {
        of: "S3: Bucket policy examples, allow both IPv4 and IPv6, but not all of them",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Id": "PolicyId2", "Statement": [{"Sid": "AllowIPmix", "Effect": "Allow", "Principal": "*",
            "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": {
            "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:DB8:1234:5678::/64"]},
            "NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:DB8:1234:5678:ABCD::/80"]}}}]}"#,
        cases: "
            anonymous s3:GetObject b/k aws:SourceIp=192.0.2.1 => allow
            anonymous s3:GetObject b/k aws:SourceIp=203.0.113.1 => none
            anonymous s3:GetObject b/k aws:SourceIp=2001:db8:1234:5678::1 => allow
            anonymous s3:GetObject b/k aws:SourceIp=2001:db8:1234:5678:abcd::1 => none
            anonymous s3:GetObject b/k aws:SourceIp=198.51.100.1 => none",
    },
    Example {
        of: "S3: Bucket policy examples, restricting access to one HTTP referer",
        kind: BUCKET,
        policy: r#""Sid": "referer", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringLike": {"aws:Referer": ["http://www.example.com/*", "http://example.com/*"]}}"#,
        cases: "
            anonymous s3:GetObject b/k aws:Referer=http://www.example.com/page => allow
            anonymous s3:GetObjectVersion b/k aws:Referer=http://example.com/ => allow
            anonymous s3:GetObject b/k aws:Referer=http://example.org/ => none
            anonymous s3:GetObject b/k => none
            anonymous s3:PutObject b/k aws:Referer=http://example.com/ => none",
    },
    Example {
        of: "S3: Bucket policy examples, managing user access to specific folders",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "AllowListOfFolder", "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:ListBucket",
             "Resource": "arn:aws:s3:::b", "Condition": {"StringLike": {"s3:prefix": ["home/${aws:username}/*"]}}},
            {"Sid": "AllowAccessToFolder", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
             "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::b/home/${aws:username}/*"}]}"#,
        cases: "
            own:user/alice s3:GetObject b/home/alice/x aws:username=alice => allow
            own:user/alice s3:PutObject b/home/alice/x/y aws:username=alice => allow
            own:user/alice s3:GetObject b/home/bob/x aws:username=alice => none
            own:user/alice s3:GetObject b/home/alice/x => none
            own:user/alice s3:DeleteObject b/home/alice/x aws:username=alice => none
            own:user/bob s3:GetObject b/home/bob/x aws:username=bob => none
            other:root s3:ListBucket b s3:prefix=home/root/ aws:username=root => allow
            other:root s3:ListBucket b s3:prefix=home/root/ => none",
    },
    Example {
        of: "S3: Bucket policy examples, managing access for Amazon S3 server access logs",
        kind: BUCKET,
        policy: r#""Sid": "S3ServerAccessLogsPolicy", "Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": ["s3:PutObject"], "Resource": "arn:aws:s3:::b/logs/*", "Condition": {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::source"}, "StringEquals": {"aws:SourceAccount": "111122223333"}}"#,
        cases: "
            logging.s3.amazonaws.com s3:PutObject b/logs/1 aws:SourceArn=arn:aws:s3:::source aws:SourceAccount=111122223333 => allow
            logging.s3.amazonaws.com s3:PutObject b/logs/1 aws:SourceArn=arn:aws:s3:::else aws:SourceAccount=111122223333 => none
            logging.s3.amazonaws.com s3:PutObject b/logs/1 aws:SourceArn=arn:aws:s3:::source aws:SourceAccount=444455556666 => none
            logging.s3.amazonaws.com s3:PutObject b/1 aws:SourceArn=arn:aws:s3:::source aws:SourceAccount=111122223333 => none
            sns.amazonaws.com s3:PutObject b/logs/1 aws:SourceArn=arn:aws:s3:::source aws:SourceAccount=111122223333 => none
            other:root s3:PutObject b/logs/1 aws:SourceArn=arn:aws:s3:::source aws:SourceAccount=111122223333 => none",
    },
    Example {
        of: "S3: Bucket policy examples, managing access for an Amazon CloudFront origin access control",
        kind: BUCKET,
        policy: r#""Effect": "Allow", "Principal": {"Service": "cloudfront.amazonaws.com"}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringEquals": {"AWS:SourceArn": "arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE"}}"#,
        cases: "
            cloudfront.amazonaws.com s3:GetObject b/k aws:SourceArn=arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE => allow
            cloudfront.amazonaws.com s3:GetObject b/k aws:SourceArn=arn:aws:cloudfront::111122223333:distribution/ELSE => none
            anonymous s3:GetObject b/k aws:SourceArn=arn:aws:cloudfront::111122223333:distribution/EDFDVBD6EXAMPLE => none",
    },
    Example {
        of: "S3: Bucket policy examples, requiring MFA",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Id": "123", "Statement": [
            {"Sid": "", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/taxdocuments/*",
             "Condition": {"Null": {"aws:MultiFactorAuthAge": true}}},
            {"Sid": "", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/taxdocuments/*",
             "Condition": {"NumericGreaterThan": {"aws:MultiFactorAuthAge": 3600}}},
            {"Sid": "", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::b/*"}]}"#,
        cases: "
            own:user/alice s3:GetObject b/taxdocuments/1 => deny
            own:user/alice s3:GetObject b/taxdocuments/1 aws:MultiFactorAuthAge=10 => allow
            own:user/alice s3:GetObject b/taxdocuments/1 aws:MultiFactorAuthAge=3600 => allow
            own:user/alice s3:GetObject b/taxdocuments/1 aws:MultiFactorAuthAge=3601 => deny
            own:user/alice s3:GetObject b/else => allow
            own:root s3:GetObject b/taxdocuments/1 => deny",
    },
    Example {
        of: "S3: Bucket policy examples, restricting to an organization",
        kind: BUCKET,
        policy: r#""Sid": "AllowGetObject", "Principal": {"AWS": "*"}, "Effect": "Allow", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-aa111bb222"]}}"#,
        cases: "
            other:root s3:GetObject b/k aws:PrincipalOrgID=o-aa111bb222 => allow
            other:root s3:GetObject b/k aws:PrincipalOrgID=o-else => none
            anonymous s3:GetObject b/k => none",
    },
    Example {
        of: "S3: Controlling access from VPC endpoints with bucket policies",
        kind: BUCKET,
        policy: r#""Sid": "Access-to-specific-VPCE-only", "Principal": "*", "Action": "s3:*", "Effect": "Deny",
            "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}"#,
        cases: "
            own:root s3:GetObject b/k => deny
            own:root s3:GetObject b/k aws:SourceVpce=vpce-1a2b3c4d => allow
            own:root s3:ListBucket b aws:SourceVpce=vpce-else => deny",
    },
    Example {
        of: "S3: Tagging and access control policies, a tag that the object has",
        kind: BUCKET,
        policy: r#""Principal": {"AWS": ["arn:aws:iam::444455556666:role/JohnDoe"]}, "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": "arn:aws:s3:::b/*",
            "Condition": {"StringEquals": {"s3:ExistingObjectTag/security": "public"}}"#,
        cases: "
            other:role/JohnDoe/s s3:GetObject b/k s3:ExistingObjectTag/security=public => none
            other:root s3:GetObject b/k s3:ExistingObjectTag/security=public => none
            own:role/JohnDoe/s s3:GetObject b/k s3:ExistingObjectTag/security=public => none",
    },
    Example {
        of: "S3: Tagging and access control policies, which tags may be asked for",
        kind: BUCKET,
        policy: r#""Principal": {"AWS": ["arn:aws:iam::111122223333:user/alice"]}, "Effect": "Allow",
            "Action": ["s3:PutObjectTagging"], "Resource": ["arn:aws:s3:::b/*"],
            "Condition": {"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["Owner", "CreationDate"]}}"#,
        cases: "
            own:user/alice s3:PutObjectTagging b/k s3:RequestObjectTagKeys=Owner => allow
            own:user/alice s3:PutObjectTagging b/k s3:RequestObjectTagKeys=Owner s3:RequestObjectTagKeys=CreationDate => allow
            own:user/alice s3:PutObjectTagging b/k s3:RequestObjectTagKeys=Owner s3:RequestObjectTagKeys=Colour => none
            own:user/alice s3:PutObjectTagging b/k => allow
            own:user/alice s3:PutObject b/k s3:RequestObjectTagKeys=Owner => none",
    },
    Example {
        of: "S3: Tagging and access control policies, a tag that must be there",
        kind: BUCKET,
        policy: r#""Principal": {"AWS": "444455556666"}, "Effect": "Allow", "Action": ["s3:PutObjectTagging"],
            "Resource": ["arn:aws:s3:::b/*"], "Condition": {"StringEquals": {"s3:RequestObjectTag/Project": ["X", "Y"]}}"#,
        cases: "
            other:root s3:PutObjectTagging b/k s3:RequestObjectTag/Project=X => allow
            other:root s3:PutObjectTagging b/k s3:RequestObjectTag/Project=Z => none
            other:root s3:PutObjectTagging b/k s3:RequestObjectTag/project=Y => allow
            other:root s3:PutObjectTagging b/k => none",
    },
    Example {
        of: "S3: Bucket policy examples using condition keys, restricting object uploads to one storage class",
        kind: BUCKET,
        policy: r#""Sid": "statement1", "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:PutObject",
            "Resource": ["arn:aws:s3:::b/*"], "Condition": {"StringEquals": {"s3:x-amz-storage-class": ["STANDARD_IA"]}}"#,
        cases: "
            other:root s3:PutObject b/k s3:x-amz-storage-class=STANDARD_IA => allow
            other:root s3:PutObject b/k s3:x-amz-storage-class=STANDARD => none
            other:root s3:PutObject b/k => none",
    },
    Example {
        of: "S3: Bucket policy examples using condition keys, copies from one bucket alone",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "cross-account permission to user", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
             "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*"},
            {"Sid": "Deny your user permission to upload if copy source is not /source/folder", "Effect": "Deny",
             "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*",
             "Condition": {"StringNotLike": {"s3:x-amz-copy-source": "source/public/*"}}}]}"#,
        cases: "
            own:user/alice s3:PutObject b/k s3:x-amz-copy-source=source/public/x => allow
            own:user/alice s3:PutObject b/k s3:x-amz-copy-source=source/secret/x => deny
            own:user/alice s3:PutObject b/k => deny
            own:root s3:PutObject b/k => allow",
    },
    Example {
        of: "S3: Bucket policy examples using condition keys, one version of an object",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "statement1", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
             "Action": "s3:GetObjectVersion", "Resource": "arn:aws:s3:::b/k"},
            {"Sid": "statement2", "Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
             "Action": "s3:GetObjectVersion", "Resource": "arn:aws:s3:::b/k",
             "Condition": {"StringNotEquals": {"s3:VersionId": "AaaHbAQitwiL_h47_44lRO2DDfLlBO5e"}}}]}"#,
        cases: "
            own:user/alice s3:GetObjectVersion b/k s3:VersionId=AaaHbAQitwiL_h47_44lRO2DDfLlBO5e => allow
            own:user/alice s3:GetObjectVersion b/k s3:VersionId=else => deny
            own:user/alice s3:GetObjectVersion b/l s3:VersionId=AaaHbAQitwiL_h47_44lRO2DDfLlBO5e => none",
    },
    Example {
        of: "S3: Bucket policy examples using condition keys, prefixes and a limit of a listing",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "statement1", "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:ListBucket",
             "Resource": "arn:aws:s3:::b", "Condition": {"StringEquals": {"s3:prefix": "projects"}}},
            {"Sid": "statement2", "Effect": "Deny", "Principal": {"AWS": "444455556666"}, "Action": "s3:ListBucket",
             "Resource": "arn:aws:s3:::b", "Condition": {"StringNotEquals": {"s3:prefix": "projects"}}},
            {"Sid": "statement3", "Effect": "Deny", "Principal": {"AWS": "444455556666"}, "Action": "s3:ListBucket",
             "Resource": "arn:aws:s3:::b", "Condition": {"NumericGreaterThan": {"s3:max-keys": "10"}}}]}"#,
        cases: "
            other:root s3:ListBucket b s3:prefix=projects => allow
            other:root s3:ListBucket b s3:prefix=projects s3:max-keys=10 => allow
            other:root s3:ListBucket b s3:prefix=projects s3:max-keys=11 => deny
            other:root s3:ListBucket b s3:prefix=else => deny
            other:root s3:ListBucket b => deny
            own:root s3:ListBucket b => allow",
    },
    Example {
        of: "S3: Amazon S3 Signature Version 4 authentication specific policy keys",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "old", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/old/*",
             "Condition": {"NumericGreaterThan": {"s3:signatureAge": 600000}}},
            {"Sid": "presigned", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/header/*",
             "Condition": {"StringNotEquals": {"s3:authType": "REST-HEADER"}}},
            {"Sid": "unsigned", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/payload/*",
             "Condition": {"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}},
            {"Sid": "v2", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/v4/*",
             "Condition": {"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}},
            {"Sid": "tls", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/tls/*",
             "Condition": {"NumericLessThan": {"s3:TlsVersion": 1.2}}}]}"#,
        cases: "
            own:root s3:GetObject b/old/k s3:signatureAge=600000 => allow
            own:root s3:GetObject b/old/k s3:signatureAge=600001 => deny
            own:root s3:GetObject b/old/k => allow
            own:root s3:GetObject b/header/k s3:authType=REST-HEADER => allow
            own:root s3:GetObject b/header/k s3:authType=REST-QUERY-STRING => deny
            own:root s3:GetObject b/header/k => deny
            own:root s3:PutObject b/payload/k s3:x-amz-content-sha256=UNSIGNED-PAYLOAD => deny
            own:root s3:PutObject b/payload/k s3:x-amz-content-sha256=e3b0c44298fc1c149afbf4c8996fb924 => allow
            own:root s3:GetObject b/v4/k s3:signatureversion=AWS4-HMAC-SHA256 => allow
            own:root s3:GetObject b/v4/k s3:signatureversion=AWS => deny
            own:root s3:GetObject b/tls/k s3:TlsVersion=1.1 => deny
            own:root s3:GetObject b/tls/k s3:TlsVersion=1.2 => allow
            own:root s3:GetObject b/tls/k s3:TlsVersion=1.3 => allow
            own:root s3:GetObject b/tls/k => allow",
    },
    Example {
        of: "S3: Enforce conditional writes on Amazon S3 buckets",
        kind: BUCKET,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "AllowConditionalPut", "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:PutObject",
             "Resource": "arn:aws:s3:::b/*", "Condition": {"Null": {"s3:if-none-match": "false"}}},
            {"Sid": "AllowConditionalPutwithMPUs", "Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "s3:PutObject",
             "Resource": "arn:aws:s3:::b/*", "Condition": {"Bool": {"s3:ObjectCreationOperation": "false"}}}]}"#,
        cases: "
            other:root s3:PutObject b/k s3:if-none-match=* s3:ObjectCreationOperation=true => allow
            other:root s3:PutObject b/k s3:ObjectCreationOperation=true => none
            other:root s3:PutObject b/k s3:ObjectCreationOperation=false => allow",
    },
    Example {
        of: "S3: Object Lock, limits to retention",
        kind: BUCKET,
        policy: r#""Sid": "SetRetentionLimits", "Effect": "Deny", "Principal": "*", "Action": ["s3:PutObjectRetention"],
            "Resource": "arn:aws:s3:::b/*", "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}"#,
        cases: "
            own:root s3:PutObjectRetention b/k s3:object-lock-remaining-retention-days=10 => allow
            own:root s3:PutObjectRetention b/k s3:object-lock-remaining-retention-days=11 => deny",
    },
    Example {
        of: "S3: Controlling ownership of objects, requiring the bucket owner enforced setting",
        kind: Kind::Identity,
        policy: r#""Sid": "RequireBucketOwnerFullControl", "Action": "s3:CreateBucket", "Effect": "Deny", "Resource": "*",
            "Condition": {"StringNotEquals": {"s3:x-amz-object-ownership": "BucketOwnerEnforced"}}"#,
        cases: "
            own:user/alice s3:CreateBucket b s3:x-amz-object-ownership=BucketOwnerEnforced => none
            own:user/alice s3:CreateBucket b s3:x-amz-object-ownership=ObjectWriter => deny
            own:user/alice s3:CreateBucket b => deny",
    },
    Example {
        of: "S3: Identity-based policy examples, an IAM user's access to one of your buckets",
        kind: Kind::Identity,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
            {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": "arn:aws:s3:::b1"},
            {"Effect": "Allow", "Action": ["s3:PutObject", "s3:PutObjectAcl", "s3:GetObject", "s3:GetObjectAcl", "s3:DeleteObject"],
             "Resource": "arn:aws:s3:::b1/*"}]}"#,
        cases: "
            own:user/alice s3:ListAllMyBuckets arn:aws:s3:::* => allow
            own:user/alice s3:ListBucket b1 => allow
            own:user/alice s3:ListBucket b2 => none
            own:user/alice s3:GetObject b1/k => allow
            own:user/alice s3:GetObject b1 => none
            own:user/alice s3:GetObjectVersion b1/k => none
            own:user/alice s3:DeleteBucket b1 => none
            other:user/bob s3:GetObject b1/k => none",
    },
    Example {
        of: "S3: Walkthrough, controlling access to a bucket with user policies",
        kind: Kind::Identity,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "AllowGroupToSeeBucketListInTheConsole", "Action": ["s3:ListAllMyBuckets", "s3:GetBucketLocation"],
             "Effect": "Allow", "Resource": ["arn:aws:s3:::*"]},
            {"Sid": "AllowRootLevelListingOfCompanyBucket", "Action": ["s3:ListBucket"], "Effect": "Allow",
             "Resource": ["arn:aws:s3:::companybucket"],
             "Condition": {"StringEquals": {"s3:prefix": [""], "s3:delimiter": ["/"]}}},
            {"Sid": "AllowListBucketIfSpecificPrefixIsIncludedInRequest", "Action": ["s3:ListBucket"], "Effect": "Allow",
             "Resource": ["arn:aws:s3:::companybucket"], "Condition": {"StringLike": {"s3:prefix": ["Development/*"]}}},
            {"Sid": "AllowUserToReadWriteObjectDataInDevelopmentFolder", "Action": ["s3:GetObject", "s3:PutObject"],
             "Effect": "Allow", "Resource": ["arn:aws:s3:::companybucket/Development/*"]},
            {"Sid": "ExplicitlyDenyAnyRequestsForAllOtherFoldersExceptDevelopment", "Action": ["s3:ListBucket"], "Effect": "Deny",
             "Resource": ["arn:aws:s3:::companybucket"],
             "Condition": {"StringNotLike": {"s3:prefix": ["Development/*", ""]}, "Null": {"s3:prefix": false}}}]}"#,
        cases: "
            own:user/alice s3:ListAllMyBuckets arn:aws:s3:::* => allow
            own:user/alice s3:GetBucketLocation companybucket => allow
            own:user/alice s3:ListBucket companybucket s3:prefix= s3:delimiter=/ => allow
            own:user/alice s3:ListBucket companybucket s3:prefix= => none
            own:user/alice s3:ListBucket companybucket => none
            own:user/alice s3:ListBucket companybucket s3:prefix=Development/ s3:delimiter=/ => allow
            own:user/alice s3:ListBucket companybucket s3:prefix=Private/ s3:delimiter=/ => deny
            own:user/alice s3:GetObject companybucket/Development/k => allow
            own:user/alice s3:GetObject companybucket/Private/k => none",
    },
    Example {
        of: "IAM: Policy evaluation for requests within a single account, Carlos",
        kind: Kind::Identity,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Sid": "AllowS3ListRead", "Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:GetAccountPublicAccessBlock",
             "s3:ListAccessPoints", "s3:ListAllMyBuckets"], "Resource": "arn:aws:s3:::*"},
            {"Sid": "AllowS3Self", "Effect": "Allow", "Action": "s3:*",
             "Resource": ["arn:aws:s3:::carlossalazar/*", "arn:aws:s3:::carlossalazar"]},
            {"Sid": "DenyS3Logs", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*log*"}]}"#,
        cases: "
            own:user/carlossalazar s3:GetObject carlossalazar/k => allow
            own:user/carlossalazar s3:PutObject carlossalazar-logs/k => deny
            own:user/carlossalazar s3:PutObject carlossalazar/catalogue => deny
            own:user/carlossalazar s3:GetBucketLocation anything => allow
            own:user/carlossalazar s3:GetBucketLocation logs => deny
            own:user/carlossalazar s3:GetObject else/k => none",
    },
    Example {
        of: "IAM: JSON policy elements NotAction, everything but IAM in one Region",
        kind: Kind::Identity,
        policy: r#""Sid": "DenyAllOutsideRequestedRegions", "Effect": "Deny", "NotAction": ["cloudfront:*", "iam:*", "route53:*", "support:*"],
            "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-central-1", "eu-west-1"]}}"#,
        cases: "
            own:root s3:GetObject b/k aws:RequestedRegion=eu-west-1 => allow
            own:root s3:GetObject b/k aws:RequestedRegion=us-east-1 => deny
            own:root iam:CreateUser * aws:RequestedRegion=us-east-1 => allow
            own:root IAM:createuser * aws:RequestedRegion=us-east-1 => allow
            own:user/alice s3:GetObject b/k aws:RequestedRegion=eu-west-1 => none",
    },
    Example {
        of: "IAM: JSON policy elements NotResource",
        kind: Kind::Identity,
        policy: r#""Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::HRBucket/Payroll", "arn:aws:s3:::HRBucket/Payroll/*"]"#,
        cases: "
            own:root s3:GetObject HRBucket/Payroll/1 => allow
            own:root s3:GetObject HRBucket/Payroll => allow
            own:root s3:GetObject HRBucket/Other => deny
            own:root s3:ListBucket HRBucket => deny
            own:root kms:Decrypt HRBucket => allow",
    },
    Example {
        of: "IAM: JSON policy elements NotPrincipal, all but one user",
        kind: BUCKET,
        policy: r#""Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:iam::444455556666:user/Bob", "arn:aws:iam::444455556666:root"]},
            "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#,
        cases: "
            other:user/Bob s3:GetObject b/k => none
            other:root s3:GetObject b/k => none
            other:user/Alice s3:GetObject b/k => deny
            other:role/Bob/s1 s3:GetObject b/k => deny
            own:root s3:GetObject b/k => deny
            own:user/alice s3:GetObject b/k => deny
            anonymous s3:GetObject b/k => deny
            s3.amazonaws.com s3:GetObject b/k => deny",
    },
    Example {
        of: "IAM: JSON policy elements NotPrincipal, a user without its account",
        kind: BUCKET,
        policy: r#""Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::444455556666:user/Bob"},
            "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#,
        cases: "
            other:user/Bob s3:GetObject b/k => deny
            other:root s3:GetObject b/k => deny",
    },
    Example {
        of: "IAM: JSON policy elements NotPrincipal, all but one session of a role",
        kind: BUCKET,
        policy: r#""Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:sts::444455556666:assumed-role/cross-account-read-only-role/cross-account-audit-app",
            "arn:aws:iam::444455556666:role/cross-account-read-only-role", "arn:aws:iam::444455556666:root"]},
            "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#,
        cases: "
            other:role/cross-account-read-only-role/cross-account-audit-app s3:GetObject b/k => none
            other:role/cross-account-read-only-role/another s3:GetObject b/k => deny
            other:role/another/cross-account-audit-app s3:GetObject b/k => deny
            other:root s3:GetObject b/k => none
            other:user/Bob s3:GetObject b/k => deny",
    },
    Example {
        of: "IAM: JSON policy elements NotPrincipal, a role without its sessions",
        kind: BUCKET,
        policy: r#""Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:iam::444455556666:role/reader", "arn:aws:iam::444455556666:root"]},
            "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]"#,
        cases: "
            other:role/reader/s1 s3:GetObject b/k => deny",
    },
    Example {
        of: "IAM: Policy variables, home folders of users",
        kind: Kind::Identity,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Action": ["s3:ListBucket"], "Effect": "Allow", "Resource": ["arn:aws:s3:::b"],
             "Condition": {"StringLike": {"s3:prefix": ["${aws:username}/*"]}}},
            {"Action": ["s3:GetObject", "s3:PutObject"], "Effect": "Allow", "Resource": ["arn:aws:s3:::b/${aws:username}/*"]}]}"#,
        cases: "
            own:user/alice s3:GetObject b/alice/k aws:username=alice => allow
            own:user/alice s3:GetObject b/bob/k aws:username=alice => none
            own:user/alice s3:GetObject b/alicex/k aws:username=alice => none
            own:user/alice s3:GetObject b/anything/k aws:username=* => none
            own:user/alice s3:GetObject b/*/k aws:username=* => allow
            own:user/alice s3:ListBucket b s3:prefix=alice/x aws:username=alice => allow
            own:user/alice s3:ListBucket b s3:prefix=alice aws:username=alice => none
            own:role/reader/s1 s3:GetObject b/alice/k => none",
    },
    Example {
        of: "IAM: Policy variables, the same text in a document of the old version",
        kind: Kind::Identity,
        policy: r#"{"Version": "2008-10-17", "Statement": {"Action": "s3:GetObject", "Effect": "Allow", "Resource": "arn:aws:s3:::b/${aws:username}/*"}}"#,
        cases: "
            own:user/alice s3:GetObject b/alice/k aws:username=alice => none
            own:user/alice s3:GetObject b/${aws:username}/k aws:username=alice => allow",
    },
    Example {
        of: "IAM: Policy variables, default values",
        kind: Kind::Identity,
        policy: r#""Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::b-${aws:PrincipalTag/team, 'company-wide'}",
            "arn:aws:s3:::b-${aws:PrincipalTag/team, 'company-wide'}/*"]"#,
        cases: "
            own:user/alice s3:GetObject b-yellow/k aws:PrincipalTag/team=yellow => allow
            own:user/alice s3:GetObject b-company-wide/k => allow
            own:user/alice s3:GetObject b-company-wide/k aws:PrincipalTag/team=yellow => none",
    },
    Example {
        of: "IAM: Policy variables, special characters",
        kind: Kind::Identity,
        policy: r#""Effect": "Allow", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::b/a${*}b", "arn:aws:s3:::b/${$}{x}", "arn:aws:s3:::b/q${?}"]"#,
        cases: "
            own:user/alice s3:GetObject b/a*b => allow
            own:user/alice s3:GetObject b/axb => none
            own:user/alice s3:GetObject b/${x} => allow
            own:user/alice s3:GetObject b/q? => allow
            own:user/alice s3:GetObject b/qx => none",
    },
    Example {
        of: "IAM: Access between dates",
        kind: Kind::Identity,
        policy: r#""Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": {
            "DateGreaterThan": {"aws:CurrentTime": "2020-04-01T00:00:00Z"}, "DateLessThan": {"aws:CurrentTime": "2020-06-30T23:59:59Z"}}"#,
        cases: "
            own:user/alice s3:GetObject b/k aws:CurrentTime=2020-05-01T00:00:00Z => allow
            own:user/alice s3:GetObject b/k aws:CurrentTime=2020-04-01T00:00:00Z => none
            own:user/alice s3:GetObject b/k aws:CurrentTime=2020-07-01T00:00:00Z => none",
    },
    Example {
        of: "IAM: Deny by source address, but not to services that call on one's behalf",
        kind: Kind::Identity,
        policy: r#""Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {
            "NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "203.0.113.0/24"]}, "BoolIfExists": {"aws:ViaAWSService": "false"}}"#,
        cases: "
            own:root s3:GetObject b/k aws:SourceIp=192.0.2.1 aws:ViaAWSService=false => allow
            own:root s3:GetObject b/k aws:SourceIp=198.51.100.1 aws:ViaAWSService=false => deny
            own:root s3:GetObject b/k aws:SourceIp=198.51.100.1 aws:ViaAWSService=true => allow
            own:root s3:GetObject b/k aws:SourceIp=198.51.100.1 => deny",
    },
    Example {
        of: "IAM: Condition operators, BoolIfExists and MFA",
        kind: Kind::Identity,
        policy: r#""Sid": "DenyAllExceptListedIfNoMFA", "Effect": "Deny", "NotAction": ["iam:CreateVirtualMFADevice", "sts:GetSessionToken"],
            "Resource": "*", "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}"#,
        cases: "
            own:root s3:GetObject b/k aws:MultiFactorAuthPresent=true => allow
            own:root s3:GetObject b/k aws:MultiFactorAuthPresent=false => deny
            own:root s3:GetObject b/k => deny
            own:root sts:GetSessionToken * => allow",
    },
    Example {
        of: "IAM: Revoking IAM role temporary security credentials",
        kind: Kind::Identity,
        policy: r#""Effect": "Deny", "Action": ["*"], "Resource": ["*"],
            "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2014-05-07T23:47:00Z"}}"#,
        cases: "
            own:role/reader/s1 s3:GetObject b/k aws:TokenIssueTime=2014-05-07T23:46:59Z => deny
            own:role/reader/s1 s3:GetObject b/k aws:TokenIssueTime=2014-05-07T23:47:00Z => none
            own:user/alice s3:GetObject b/k => none",
    },
    Example {
        of: "IAM: ABAC, a tag of the principal that is the resource's",
        kind: Kind::Identity,
        policy: r#""Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/project": "${aws:PrincipalTag/project}"}}"#,
        cases: "
            own:user/alice kms:Decrypt * aws:ResourceTag/project=x aws:PrincipalTag/project=x => allow
            own:user/alice kms:Decrypt * aws:ResourceTag/project=y aws:PrincipalTag/project=x => none
            own:user/alice kms:Decrypt * aws:ResourceTag/project=x => none
            own:user/alice kms:Decrypt * aws:PrincipalTag/project=x => none",
    },
    Example {
        of: "IAM: Set operators, ForAllValues and a key that must be there",
        kind: Kind::Identity,
        policy: r#""Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": {
            "ForAllValues:StringEquals": {"dynamodb:Attributes": ["ID", "Message", "Tags"]}, "Null": {"dynamodb:Attributes": "false"}}"#,
        cases: "
            own:user/alice dynamodb:GetItem * dynamodb:Attributes=ID dynamodb:Attributes=Tags => allow
            own:user/alice dynamodb:GetItem * dynamodb:Attributes=ID dynamodb:Attributes=UserName => none
            own:user/alice dynamodb:GetItem * => none",
    },
    Example {
        of: "KMS: Default key policy",
        kind: Kind::Key,
        policy: r#""Sid": "Enable IAM policies", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "kms:*", "Resource": "*""#,
        cases: "
            own:root kms:Decrypt arn:k => allow
            own:user/alice kms:Decrypt arn:k => none
            own:role/reader/s1 kms:Decrypt arn:k => none
            other:root kms:Decrypt arn:k => none
            anonymous kms:Decrypt arn:k => none",
    },
    Example {
        of: "KMS: Key administrators and key users",
        kind: Kind::Key,
        policy: r#"{"Version": "2012-10-17", "Id": "key-consolepolicy-3", "Statement": [
            {"Sid": "Allow access for Key Administrators", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/admin"},
             "Action": ["kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*",
             "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"], "Resource": "*"},
            {"Sid": "Allow use of the key", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:user/alice",
             "arn:aws:iam::111122223333:role/reader", "arn:aws:iam::444455556666:root"]},
             "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"], "Resource": "*"},
            {"Sid": "Allow attachment of persistent resources", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/alice"},
             "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], "Resource": "*",
             "Condition": {"Bool": {"kms:GrantIsForAWSResource": true}}}]}"#,
        cases: "
            own:role/admin/s kms:PutKeyPolicy arn:k => allow
            own:role/admin/s kms:Decrypt arn:k => none
            own:user/alice kms:Decrypt arn:k => allow
            own:user/alice kms:GenerateDataKeyWithoutPlaintext arn:k => allow
            own:user/alice kms:PutKeyPolicy arn:k => none
            own:role/reader/s1 kms:ReEncryptFrom arn:k => allow
            own:role/writer/s1 kms:ReEncryptFrom arn:k => none
            own:user/alice kms:CreateGrant arn:k kms:GrantIsForAWSResource=true => allow
            own:user/alice kms:CreateGrant arn:k kms:GrantIsForAWSResource=false => none
            other:root kms:Decrypt arn:k => allow
            other:user/bob kms:Decrypt arn:k => none
            own:root kms:Decrypt arn:k => none",
    },
    Example {
        of: "KMS: kms:ViaService and kms:CallerAccount",
        kind: Kind::Key,
        policy: r#""Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*", "Condition": {"StringEquals": {"kms:ViaService": "s3.us-west-2.amazonaws.com", "kms:CallerAccount": "111122223333"}}"#,
        cases: "
            own:user/alice kms:Decrypt arn:k kms:ViaService=s3.us-west-2.amazonaws.com kms:CallerAccount=111122223333 => allow
            own:user/alice kms:Decrypt arn:k kms:CallerAccount=111122223333 => none
            own:user/alice kms:Decrypt arn:k kms:ViaService=ec2.us-west-2.amazonaws.com kms:CallerAccount=111122223333 => none
            other:root kms:Decrypt arn:k kms:ViaService=s3.us-west-2.amazonaws.com kms:CallerAccount=444455556666 => none",
    },
    Example {
        of: "KMS: kms:EncryptionContext",
        kind: Kind::Key,
        policy: r#""Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/reader"}, "Action": "kms:GenerateDataKey",
            "Resource": "*", "Condition": {"StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}}"#,
        cases: "
            own:role/reader/s1 kms:GenerateDataKey arn:k kms:EncryptionContext:AppName=ExampleApp => allow
            own:role/reader/s1 kms:GenerateDataKey arn:k kms:EncryptionContext:AppName=exampleapp => none
            own:role/reader/s1 kms:GenerateDataKey arn:k => none
            own:role/reader/s1 kms:Decrypt arn:k kms:EncryptionContext:AppName=ExampleApp => none",
    },
    Example {
        of: "KMS: kms:EncryptionContextKeys",
        kind: Kind::Key,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:Encrypt", "Resource": "*",
             "Condition": {"ForAllValues:StringNotEquals": {"kms:EncryptionContextKeys": ["AppName"]}}},
            {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*",
             "Condition": {"Null": {"kms:EncryptionContextKeys": true}}}]}"#,
        cases: "
            own:root kms:Encrypt arn:k kms:EncryptionContextKeys=AppName => allow
            own:root kms:Encrypt arn:k kms:EncryptionContextKeys=AppName kms:EncryptionContextKeys=FilePath => allow
            own:root kms:Encrypt arn:k kms:EncryptionContextKeys=FilePath => deny
            own:root kms:Encrypt arn:k => deny
            own:root kms:Decrypt arn:k => deny
            own:root kms:Decrypt arn:k kms:EncryptionContextKeys=anything => allow",
    },
    Example {
        of: "IAM: Role trust policies, a service and another account with an external id",
        kind: Kind::Trust,
        policy: r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"},
            {"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "sts:AssumeRole",
             "Condition": {"StringEquals": {"sts:ExternalId": "12345"}}},
            {"Effect": "Allow", "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/idp.example.com"},
             "Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringEquals": {"idp.example.com:aud": "app"}}}]}"#,
        cases: "
            s3.amazonaws.com sts:AssumeRole arn:r => allow
            ec2.amazonaws.com sts:AssumeRole arn:r => none
            other:root sts:AssumeRole arn:r sts:ExternalId=12345 => allow
            other:root sts:AssumeRole arn:r sts:ExternalId=54321 => none
            other:root sts:AssumeRole arn:r => none
            own:root sts:AssumeRole arn:r => none
            federated:arn:aws:iam::111122223333:oidc-provider/idp.example.com sts:AssumeRoleWithWebIdentity arn:r idp.example.com:aud=app => allow
            federated:arn:aws:iam::111122223333:oidc-provider/idp.example.com sts:AssumeRoleWithWebIdentity arn:r idp.example.com:aud=else => none
            federated:arn:aws:iam::111122223333:oidc-provider/else sts:AssumeRoleWithWebIdentity arn:r idp.example.com:aud=app => none",
    },
];

#[test]
fn aws_examples_decide_as_aws_says() {
    let mut count = 0;
    for example in EXAMPLES {
        let text = if example.policy.starts_with('{') {
            example.policy.to_owned()
        } else {
            format!(r#"{{"Version": "2012-10-17", "Statement": {{{}}}}}"#, example.policy)
        };
        let policy = Policy::parse(&text, example.kind).unwrap_or_else(|error| panic!("{}: {error}", example.of));
        if let Kind::Bucket(bucket) = example.kind {
            policy.check_conditions(bucket).unwrap_or_else(|error| panic!("{}: {error}", example.of));
        }
        for case in example.cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (request, expected) = case.split_once(" => ").unwrap_or_else(|| panic!("{case}"));
            assert_eq!(judge(&policy, example.kind, request), expected, "{}: {case}", example.of);
            count += 1;
        }
    }
    assert!(count > 230, "{count} cases");
}

/// What is decided of a case's request, with `policy` as what its kind is.
fn judge(policy: &Policy, kind: Kind<'_>, request: &str) -> &'static str {
    let mut words = request.split(' ');
    let (who, action, resource) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let context: Vec<(String, &str)> = words
        .map(|pair| pair.split_once('=').unwrap_or_else(|| panic!("{request}")))
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .collect();
    let context: Vec<(&str, &str)> = context.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let context = context.as_slice();
    let resource = match resource {
        "*" => "*".to_owned(),
        arn if arn.starts_with("arn:") => arn.to_owned(),
        name => format!("arn:aws:s3:::{name}"),
    };
    let who = Who::parse(who);
    let request = Request { principal: who.principal(), action, resource: &resource, owner: OWNER, context: &context };
    let list = [policy];
    let policies = match kind {
        Kind::Identity => Policies { identity: List::Plain(&list), ..Policies::default() },
        Kind::Bucket(_) => Policies { resource: Some(policy), ..Policies::default() },
        Kind::Key | Kind::Trust => {
            Policies { resource: Some(policy), resource_must_allow: true, ..Policies::default() }
        }
    };
    match decide(&policies, &request) {
        Decision::Allowed(_) => "allow",
        Decision::Denied(..) => "deny",
        Decision::NotAllowed(_) => "none",
    }
}

/// Who asks, as the cases write it.
struct Who {
    account: String,
    arn: String,
    role: Option<String>,
}

impl Who {
    fn parse(text: &str) -> Self {
        let account = |short: &str| match short {
            "own" => OWNER.to_owned(),
            "other" => OTHER.to_owned(),
            id => id.to_owned(),
        };
        match text.split_once(':') {
            None => Self { account: String::new(), arn: text.to_owned(), role: None },
            Some(("federated", arn)) => Self { account: "federated".to_owned(), arn: arn.to_owned(), role: None },
            Some((short, name)) => {
                let account = account(short);
                match name.strip_prefix("role/").and_then(|name| name.split_once('/')) {
                    Some((role, session)) => Self {
                        arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
                        role: Some(format!("arn:aws:iam::{account}:role/{role}")),
                        account,
                    },
                    None => Self { arn: format!("arn:aws:iam::{account}:{name}"), account, role: None },
                }
            }
        }
    }

    fn principal(&self) -> Principal<'_> {
        let (account, arn) = (self.account.as_str(), self.arn.as_str());
        match &self.role {
            Some(role) => Principal::Session { account, arn, role, id: "AROAEXAMPLE:s1" },
            None if arn == "anonymous" => Principal::Anonymous,
            None if account == "federated" => Principal::Federated(arn),
            None if account.is_empty() => Principal::Service(arn),
            None if arn.ends_with(":root") => Principal::Root { account, arn },
            None => Principal::User { account, arn, id: "AIDAEXAMPLE" },
        }
    }
}
