//! What makes a bucket policy public. (S3 user guide, "The meaning of 'public'".)

use serde_json::json;

use super::{OTHER, bucket_policy};

#[test]
fn what_is_public() {
    let ap = "arn:aws:s3:us-west-2:111122223333:accesspoint";
    for (more, expected) in [
        (json!({}), true),
        (json!({"Principal": {"AWS": "*"}}), true),
        (json!({"Principal": {"AWS": [OTHER, "*"]}}), true),
        (json!({"Principal": {"AWS": OTHER}}), false),
        (json!({"Principal": {"AWS": format!("arn:aws:iam::{OTHER}:role/r")}}), false),
        (json!({"Principal": {"Service": "cloudtrail.amazonaws.com"}}), false),
        (json!({"Principal": null, "NotPrincipal": {"AWS": OTHER}}), true),
        (json!({"Principal": null, "NotPrincipal": {"AWS": OTHER}, "Effect": "Deny"}), false),
        (json!({"Effect": "Deny"}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpc": ["vpc-91237329", "vpc-2"]}}}), false),
        (json!({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-91237329"}}}), false),
        (json!({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}), true),
        (json!({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-91237329"}}}), true),
        (json!({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-91237329"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}}), false),
        (json!({"Condition": {"ForAllValues:StringEquals": {"aws:SourceVpce": "vpce-1"}}}), true),
        (json!({"Condition": {"ForAnyValue:StringEquals": {"aws:SourceVpce": "vpce-1"}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceVpce": "${aws:username}"}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "11.0.0.0/7"}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}}), true),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}}), false),
        (json!({"Condition": {"IpAddress": {"aws:SourceIp": "2000::/3"}}}), true),
        (json!({"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}), true),
        (json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:PrincipalAccount": OTHER}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceAccount": OTHER}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:SourceOwner": OTHER}}}), false),
        (json!({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:us-east-1:444455556666:topic"}}}), false),
        (json!({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:*"}}}), true),
        (json!({"Condition": {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::444455556666:role/r"}}}), false),
        (json!({"Condition": {"StringLike": {"aws:userid": "AROAEXAMPLEID:*"}}}), true),
        (json!({"Condition": {"StringEquals": {"aws:userid": "AIDAEXAMPLEID"}}}), false),
        (json!({"Condition": {"StringEquals": {"aws:Referer": "https://example.com/"}}}), true),
        (
            json!({"Condition": {"StringEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:1:key/1"}}}),
            false,
        ),
        (json!({"Condition": {"StringEquals": {"s3:DataAccessPointAccount": OTHER}}}), false),
        (json!({"Condition": {"ArnLike": {"s3:DataAccessPointArn": format!("{ap}/*")}}}), false),
        (json!({"Condition": {"StringLike": {"s3:DataAccessPointArn": format!("{ap}/*")}}}), false),
        (json!({"Condition": {"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2:*:accesspoint/a"}}}), true),
        (
            json!({"Condition": {"StringLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:111122223333:accesspoint/a"}}}),
            true,
        ),
        (json!({"Condition": {"StringNotLike": {"s3:DataAccessPointArn": format!("{ap}/*")}}}), true),
    ] {
        assert_eq!(bucket_policy(more.clone()).is_public(), expected, "{more}");
    }
}
