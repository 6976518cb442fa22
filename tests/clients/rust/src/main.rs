//! What the AWS SDK for Rust finds at the server, as JSON. `BUCKET` is a bucket whose default is SSE-KMS.

use std::error::Error;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier,
};
use aws_sdk_s3::{Client, Config};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a part: the least that S3 takes, and one.
const PART: usize = (5 << 20) + 1;

#[tokio::main]
async fn main() -> Result<()> {
    let (client, bucket) = (client()?, variable("BUCKET")?);
    let mut found = small(&client, &bucket).await?;
    for part in [large(&client, &bucket).await?, refusals(&client, &bucket).await?, rest(&client, &bucket).await?] {
        if let (Value::Object(found), Value::Object(part)) = (&mut found, part) {
            found.extend(part);
        }
    }
    println!("{found}");
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn client() -> Result<Client> {
    let trusted = TrustStore::empty().with_pem_certificate(std::fs::read(variable("AWS_CA_BUNDLE")?)?);
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(TlsContext::builder().with_trust_store(trusted).build()?)
        .build_https();
    let keys = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(variable("AWS_ENDPOINT_URL")?)
        .force_path_style(true)
        .credentials_provider(Credentials::new(keys.0, keys.1, None, None, "the environment"))
        .http_client(http)
        .build();
    Ok(Client::from_conf(config))
}

/// An object with metadata and tags, put as the SDK puts by default.
async fn small(client: &Client, bucket: &str) -> Result<Value> {
    let (key, body) = ("a/small é", ByteStream::from_static(b"hello"));
    client.put_object().bucket(bucket).key(key).body(body).metadata("colour", "red").tagging("k=%C3%BC").send().await?;
    let head = client.head_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await?;
    let got = client.get_object().bucket(bucket).key(key).range("bytes=1-3").send().await?;
    let tags = client.get_object_tagging().bucket(bucket).key(key).send().await?;
    client.copy_object().bucket(bucket).key("copy").copy_source(format!("{bucket}/a/small%20%C3%A9")).send().await?;
    Ok(json!({
        "head": [head.content_length(), head.metadata().and_then(|all| all.get("colour")), head.checksum_crc32()],
        "encryption": [
            head.server_side_encryption().map(|kind| kind.as_str()), head.ssekms_key_id(), head.bucket_key_enabled()
        ],
        "range": String::from_utf8(got.body.collect().await?.to_vec())?,
        "tags": tags.tag_set().iter().map(|tag| [tag.key(), tag.value()]).collect::<Vec<_>>(),
    }))
}

/// An object in parts.
async fn large(client: &Client, bucket: &str) -> Result<Value> {
    let key = "a/large";
    let whole: Vec<u8> = (0..PART + 10).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    let algorithm = ChecksumAlgorithm::Crc32C;
    let upload = client.create_multipart_upload().bucket(bucket).key(key).checksum_algorithm(algorithm.clone());
    let upload = upload.send().await?;
    let id = upload.upload_id().ok_or("an upload without an id")?;
    let mut parts = Vec::new();
    for (number, bytes) in (1..).zip(whole.chunks(PART)) {
        let part = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
        let part = part.checksum_algorithm(algorithm.clone()).body(ByteStream::from(bytes.to_vec())).send().await?;
        let done = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag)
            .set_checksum_crc32_c(part.checksum_crc32_c);
        parts.push(done.build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    client.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(parts).send().await?;
    let got = client.get_object().bucket(bucket).key(key).send().await?;
    let encryption = got.server_side_encryption().map(|kind| kind.as_str().to_owned());
    Ok(json!({"large": got.body.collect().await?.to_vec() == whole, "largeEncryption": encryption}))
}

/// The errors that programs tell apart.
async fn refusals(client: &Client, bucket: &str) -> Result<Value> {
    let missing =
        client.get_object().bucket(bucket).key("missing").send().await.err().ok_or("it is there")?.into_service_error();
    let head = client
        .head_object()
        .bucket(bucket)
        .key("missing")
        .send()
        .await
        .err()
        .ok_or("it is there")?
        .into_service_error();
    let put = client.put_object().bucket(bucket).key("copy").if_none_match("*").send().await;
    let exists = put.err().ok_or("it was overwritten")?.into_service_error();
    let nowhere = client.list_objects_v2().bucket("there-is-no-such-bucket").send().await;
    let nowhere = nowhere.err().ok_or("it is there")?.into_service_error();
    Ok(json!({
        "missing": [missing.is_no_such_key(), head.is_not_found(), nowhere.is_no_such_bucket()],
        "exists": exists.code(),
    }))
}

/// Listings page by page, signed URLs, and the end of it all.
async fn rest(client: &Client, bucket: &str) -> Result<Value> {
    let url = client.get_object().bucket(bucket).key("copy");
    let url = url.presigned(PresigningConfig::expires_in(std::time::Duration::from_secs(60))?).await?;
    let mut pages = client.list_objects_v2().bucket(bucket).into_paginator().page_size(1).send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
    }
    let grouped = client.list_objects_v2().bucket(bucket).delimiter("/").send().await?;
    let prefixes: Vec<_> = grouped.common_prefixes().iter().map(|prefix| prefix.prefix()).collect();
    let doomed =
        keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect::<std::result::Result<_, _>>()?;
    let doomed = Delete::builder().set_objects(Some(doomed)).build()?;
    let gone = client.delete_objects().bucket(bucket).delete(doomed).send().await?;
    let left = client.list_objects_v2().bucket(bucket).send().await?;
    Ok(json!({
        "url": url.uri().contains("X-Amz-Signature="),
        "keys": keys,
        "prefixes": prefixes,
        "deleted": gone.deleted().len(),
        "left": left.key_count(),
    }))
}
