// AWS's JavaScript SDK v3 against S3, as applications use it: no option but the endpoint that the environment names, and path
// style. Prints what it found as JSON; the assertions are in test_javascript.py.
"use strict";

const crypto = require("node:crypto");
const { Readable } = require("node:stream");
const s3 = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const MIB = 1 << 20;

async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { name: error.name, status: error.$metadata.httpStatusCode, typed: error instanceof s3.S3ServiceException };
  }
}

async function main() {
  const client = new s3.S3Client({ forcePathStyle: true });
  const send = (Command, input) => client.send(new Command(input));
  const Bucket = process.env.BUCKET;
  const found = {};

  const data = crypto.randomBytes(12 * MIB + 5);
  await send(s3.PutObjectCommand, { Bucket, Key: "a/small é", Body: "hello", Metadata: { color: "red" } });
  const upload = new Upload({
    client,
    params: { Bucket, Key: "a/large", Body: Readable.from([data.subarray(0, 7 * MIB), data.subarray(7 * MIB)]) },
    partSize: 5 * MIB,
  });
  let told = 0;
  upload.on("httpUploadProgress", (progress) => (told = Math.max(told, progress.loaded)));
  await upload.done();
  found.progress = told === data.length;

  const head = await send(s3.HeadObjectCommand, { Bucket, Key: "a/small é", ChecksumMode: "ENABLED" });
  found.head = [head.ContentLength, head.Metadata.color, head.ChecksumCRC32, head.LastModified instanceof Date];
  found.encryption = [head.ServerSideEncryption, head.SSEKMSKeyId, head.BucketKeyEnabled];
  const large = await send(s3.GetObjectCommand, { Bucket, Key: "a/large" });
  found.large = Buffer.compare(Buffer.from(await large.Body.transformToByteArray()), data) === 0;
  found.largeEncryption = large.ServerSideEncryption;
  const range = await send(s3.GetObjectCommand, { Bucket, Key: "a/large", Range: "bytes=5242878-5242883" });
  found.range = Buffer.compare(Buffer.from(await range.Body.transformToByteArray()), data.subarray(5242878, 5242884)) === 0;
  const parts = await send(s3.GetObjectAttributesCommand, { Bucket, Key: "a/large", ObjectAttributes: ["ObjectParts"] });
  found.parts = parts.ObjectParts.TotalPartsCount;

  await send(s3.CopyObjectCommand, { Bucket, Key: "copy", CopySource: `${Bucket}/a/large` });
  await send(s3.PutObjectTaggingCommand, { Bucket, Key: "copy", Tagging: { TagSet: [{ Key: "k", Value: "ü" }] } });
  found.tags = (await send(s3.GetObjectTaggingCommand, { Bucket, Key: "copy" })).TagSet;

  found.keys = [];
  for await (const page of s3.paginateListObjectsV2({ client, pageSize: 1 }, { Bucket })) {
    found.keys.push(...page.Contents.map((object) => object.Key));
  }
  const folded = await send(s3.ListObjectsV2Command, { Bucket, Delimiter: "/" });
  found.prefixes = folded.CommonPrefixes.map((common) => common.Prefix);

  const get = await getSignedUrl(client, new s3.GetObjectCommand({ Bucket, Key: "a/small é" }), { expiresIn: 60 });
  found.presignedGet = await (await fetch(get)).text();
  const put = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket, Key: "presigned" }), { expiresIn: 60 });
  found.presignedPut = (await fetch(put, { method: "PUT", body: "by url" })).status;
  const again = await send(s3.GetObjectCommand, { Bucket, Key: "presigned" });
  found.presigned = [await again.Body.transformToString(), again.ServerSideEncryption];

  found.exists = await failure(send(s3.PutObjectCommand, { Bucket, Key: "copy", Body: "x", IfNoneMatch: "*" }));
  found.missing = await failure(send(s3.GetObjectCommand, { Bucket, Key: "none" }));
  found.missingHead = await failure(send(s3.HeadObjectCommand, { Bucket, Key: "none" }));
  found.missingBucket = await failure(send(s3.ListObjectsV2Command, { Bucket: `${Bucket}-none` }));
  await s3.waitUntilObjectExists({ client, maxWaitTime: 10 }, { Bucket, Key: "copy" });

  const Objects = [...found.keys, "presigned"].map((Key) => ({ Key }));
  found.deleted = (await send(s3.DeleteObjectsCommand, { Bucket, Delete: { Objects } })).Deleted.length;
  found.left = (await send(s3.ListObjectsV2Command, { Bucket })).KeyCount;
  process.stdout.write(JSON.stringify(found));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
