//! The table of error codes.

use http::StatusCode;

/// Declares the closed set of S3 error codes: name, status, and AWS's default text.
macro_rules! error_codes {
    ($($name:ident $code:literal $status:ident $message:literal;)*) => {
        /// An S3 error code. (AWS: "Error responses", API reference.)
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "each is documented by its own text in the table")]
        pub enum ErrorCode { $($name,)* }

        impl ErrorCode {
            /// Every code, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// AWS's text, where the occasion has no better one.
            pub const fn default_message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

error_codes! {
    AccessControlListNotSupported "AccessControlListNotSupported" BAD_REQUEST "The bucket does not allow ACLs";
    AccessDenied "AccessDenied" FORBIDDEN "Access Denied";
    AccessForbidden "AccessForbidden" FORBIDDEN "Access Forbidden";
    AuthorizationHeaderMalformed "AuthorizationHeaderMalformed" BAD_REQUEST "The authorization header you provided is invalid.";
    AuthorizationQueryParametersError "AuthorizationQueryParametersError" BAD_REQUEST "Query-string authentication parameters are not valid.";
    BadDigest "BadDigest" BAD_REQUEST "The Content-MD5 you specified did not match what we received.";
    BadRequest "BadRequest" BAD_REQUEST "Bad Request";
    BucketAlreadyExists "BucketAlreadyExists" CONFLICT "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou "BucketAlreadyOwnedByYou" CONFLICT "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty "BucketNotEmpty" CONFLICT "The bucket you tried to delete is not empty";
    ConditionalRequestConflict "ConditionalRequestConflict" CONFLICT "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge "EntityTooLarge" BAD_REQUEST "Your proposed upload exceeds the maximum allowed size";
    EntityTooSmall "EntityTooSmall" BAD_REQUEST "Your proposed upload is smaller than the minimum allowed size";
    ExpiredToken "ExpiredToken" BAD_REQUEST "The provided token has expired.";
    IdMismatch "IdMismatch" BAD_REQUEST "Document ID does not match the specified configuration ID.";
    IllegalLocationConstraintException "IllegalLocationConstraintException" BAD_REQUEST "The specified location-constraint is not valid";
    IllegalVersioningConfiguration "IllegalVersioningConfigurationException" BAD_REQUEST "The versioning configuration specified in the request is invalid.";
    IncompleteBody "IncompleteBody" BAD_REQUEST "You did not provide the number of bytes specified by the Content-Length HTTP header";
    InsufficientStorage "InsufficientStorage" INSUFFICIENT_STORAGE "There is not enough space left to store the data.";
    InternalError "InternalError" INTERNAL_SERVER_ERROR "We encountered an internal error. Please try again.";
    InvalidAccessKeyId "InvalidAccessKeyId" FORBIDDEN "The AWS Access Key Id you provided does not exist in our records.";
    InvalidArgument "InvalidArgument" BAD_REQUEST "Invalid Argument";
    InvalidBucketAclWithBlockPublicAccess "InvalidBucketAclWithBlockPublicAccessError" BAD_REQUEST "Bucket cannot have public ACLs set with BlockPublicAccess enabled";
    InvalidBucketAclWithObjectOwnership "InvalidBucketAclWithObjectOwnership" BAD_REQUEST "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidChunkSize "InvalidChunkSizeError" FORBIDDEN "Only the last chunk is allowed to have a size less than 8192 bytes";
    InvalidBucketState "InvalidBucketState" CONFLICT "The request is not valid for the current state of the bucket.";
    InvalidBucketName "InvalidBucketName" BAD_REQUEST "The specified bucket is not valid.";
    InvalidBucketNamespace "InvalidBucketNamespace" BAD_REQUEST "The specified bucket namespace is not valid.";
    InvalidBucketOwner "InvalidBucketOwnerAWSAccountID" BAD_REQUEST "The value of the expected bucket owner parameter must be an AWS Account ID.";
    InvalidConfigurationId "InvalidConfigurationId" BAD_REQUEST "The specified configuration id is invalid.";
    InvalidDigest "InvalidDigest" BAD_REQUEST "The Content-MD5 you specified was invalid.";
    InvalidEncryptionAlgorithm "InvalidEncryptionAlgorithmError" BAD_REQUEST "The Encryption request you specified is not valid. Supported value: AES256.";
    InvalidLocationConstraint "InvalidLocationConstraint" BAD_REQUEST "The specified location-constraint is not valid";
    InvalidPart "InvalidPart" BAD_REQUEST "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber "InvalidPartNumber" RANGE_NOT_SATISFIABLE "The requested partnumber is not satisfiable";
    InvalidPartOrder "InvalidPartOrder" BAD_REQUEST "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidPolicyDocument "InvalidPolicyDocument" BAD_REQUEST "The content of the form does not meet the conditions specified in the policy document.";
    InvalidRange "InvalidRange" RANGE_NOT_SATISFIABLE "The requested range is not satisfiable";
    InvalidRedirectLocation "InvalidRedirectLocation" BAD_REQUEST "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.";
    InvalidRequest "InvalidRequest" BAD_REQUEST "Invalid Request";
    InvalidRetentionPeriod "InvalidRetentionPeriod" BAD_REQUEST "Default retention period must be a positive integer value.";
    InvalidS3DestinationBucket "InvalidS3DestinationBucket" BAD_REQUEST "Invalid bucket ARN.";
    InvalidStorageClass "InvalidStorageClass" BAD_REQUEST "The storage class you specified is not valid";
    InvalidTag "InvalidTag" BAD_REQUEST "The tag provided was not a valid tag.";
    InvalidTargetBucketForLogging "InvalidTargetBucketForLogging" BAD_REQUEST "The target bucket for logging does not exist";
    InvalidToken "InvalidToken" BAD_REQUEST "The provided token is malformed or otherwise invalid.";
    InvalidUri "InvalidURI" BAD_REQUEST "Couldn't parse the specified URI.";
    KeyTooLong "KeyTooLongError" BAD_REQUEST "Your key is too long";
    KmsDisabled "KMS.DisabledException" BAD_REQUEST "The key is disabled.";
    KmsInvalidKeyUsage "KMS.InvalidKeyUsageException" BAD_REQUEST "The key's usage does not allow this operation.";
    KmsInvalidState "KMS.KMSInvalidStateException" BAD_REQUEST "The key is in a state that does not allow this operation.";
    KmsNotFound "KMS.NotFoundException" BAD_REQUEST "The key does not exist.";
    MalformedAcl "MalformedACLError" BAD_REQUEST "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedContinuationToken "MalformedContinuationToken" BAD_REQUEST "The continuation-token you provided invalid.";
    MalformedPostRequest "MalformedPOSTRequest" BAD_REQUEST "The body of your POST request is not well-formed multipart/form-data.";
    MalformedTrailer "MalformedTrailerError" BAD_REQUEST "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXml "MalformedXML" BAD_REQUEST "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPolicy "MalformedPolicy" BAD_REQUEST "Policies must be valid JSON and the first byte must be '{'";
    MaxMessageLengthExceeded "MaxMessageLengthExceeded" BAD_REQUEST "Your request was too big.";
    MaxPostPreDataLengthExceeded "MaxPostPreDataLengthExceeded" BAD_REQUEST "Your POST request fields preceding the upload file were too large.";
    MetadataTooLarge "MetadataTooLarge" BAD_REQUEST "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed "MethodNotAllowed" METHOD_NOT_ALLOWED "The specified method is not allowed against this resource.";
    MissingContentLength "MissingContentLength" LENGTH_REQUIRED "You must provide the Content-Length HTTP header.";
    MissingNamespaceHeader "MissingNamespaceHeader" BAD_REQUEST "The request must contain the x-amz-bucket-namespace header.";
    MissingRequestBody "MissingRequestBodyError" BAD_REQUEST "Request Body is empty";
    MissingSecurityHeader "MissingSecurityHeader" BAD_REQUEST "Your request was missing a required header";
    NoLoggingStatusForKey "NoLoggingStatusForKey" BAD_REQUEST "There is no such thing as the ?logging sub-resource for a key";
    NoSuchBucket "NoSuchBucket" NOT_FOUND "The specified bucket does not exist";
    NoSuchBucketPolicy "NoSuchBucketPolicy" NOT_FOUND "The bucket policy does not exist";
    NoSuchConfiguration "NoSuchConfiguration" NOT_FOUND "The specified configuration does not exist.";
    NoSuchCorsConfiguration "NoSuchCORSConfiguration" NOT_FOUND "The CORS configuration does not exist";
    NoSuchKey "NoSuchKey" NOT_FOUND "The specified key does not exist.";
    NoSuchObjectLockConfiguration "NoSuchObjectLockConfiguration" NOT_FOUND "The specified object does not have a ObjectLock configuration";
    NoSuchLifecycleConfiguration "NoSuchLifecycleConfiguration" NOT_FOUND "The lifecycle configuration does not exist";
    NoSuchPublicAccessBlockConfiguration "NoSuchPublicAccessBlockConfiguration" NOT_FOUND "The public access block configuration was not found";
    NoSuchResource "NoSuchResource" NOT_FOUND "The specified resource doesn't exist.";
    NoSuchTagSet "NoSuchTagSet" NOT_FOUND "The TagSet does not exist";
    NoSuchUpload "NoSuchUpload" NOT_FOUND "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion "NoSuchVersion" NOT_FOUND "The specified version does not exist.";
    NoSuchWebsiteConfiguration "NoSuchWebsiteConfiguration" NOT_FOUND "The specified bucket does not have a website configuration";
    NotImplemented "NotImplemented" NOT_IMPLEMENTED "A header you provided implies functionality that is not implemented";
    NotModified "NotModified" NOT_MODIFIED "Not Modified";
    ObjectLockConfigurationNotFound "ObjectLockConfigurationNotFoundError" NOT_FOUND "Object Lock configuration does not exist for this bucket";
    OperationAborted "OperationAborted" CONFLICT "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFound "OwnershipControlsNotFoundError" NOT_FOUND "The bucket ownership controls were not found";
    PolicyTooLarge "PolicyTooLarge" BAD_REQUEST "Policy exceeds the maximum allowed document size.";
    PreconditionFailed "PreconditionFailed" PRECONDITION_FAILED "At least one of the pre-conditions you specified did not hold";
    ReplicationConfigurationNotFound "ReplicationConfigurationNotFoundError" NOT_FOUND "The replication configuration was not found";
    RequestHeaderSectionTooLarge "RequestHeaderSectionTooLarge" BAD_REQUEST "Your request header and query parameters used to make the request exceed the maximum allowed size";
    RequestTimeTooSkewed "RequestTimeTooSkewed" FORBIDDEN "The difference between the request time and the current time is too large.";
    RequestTimeout "RequestTimeout" BAD_REQUEST "Your socket connection to the server was not read from or written to within the timeout period.";
    ServiceUnavailable "ServiceUnavailable" SERVICE_UNAVAILABLE "Service is unable to handle request.";
    SignatureDoesNotMatch "SignatureDoesNotMatch" FORBIDDEN "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown "SlowDown" SERVICE_UNAVAILABLE "Please reduce your request rate.";
    TooManyConfigurations "TooManyConfigurations" BAD_REQUEST "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.";
    UnexpectedContent "UnexpectedContent" BAD_REQUEST "This request does not support content";
    UnresolvableGrantByEmailAddress "UnresolvableGrantByEmailAddress" BAD_REQUEST "The e-mail address you provided does not match any account on record.";
    UserKeyMustBeSpecified "UserKeyMustBeSpecified" BAD_REQUEST "User key must be specified.";
    ContentSha256Mismatch "XAmzContentSHA256Mismatch" BAD_REQUEST "The provided 'x-amz-content-sha256' header does not match what was computed.";
}
