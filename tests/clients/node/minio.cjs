// minio-js, as applications use it. Prints what it found as JSON; the assertions are in test_javascript.py.
"use strict";

const crypto = require("node:crypto");
const { Readable } = require("node:stream");
const minio = require("minio");

const MIB = 1 << 20;

async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return error.code;
  }
}

async function bytes(stream) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function main() {
  const endpoint = new URL(process.env.AWS_ENDPOINT_URL);
  const client = new minio.Client({
    endPoint: endpoint.hostname,
    port: Number(endpoint.port),
    useSSL: endpoint.protocol === "https:",
    accessKey: process.env.AWS_ACCESS_KEY_ID,
    secretKey: process.env.AWS_SECRET_ACCESS_KEY,
  });
  const bucket = process.env.BUCKET;
  const found = {};

  await client.makeBucket(bucket, process.env.AWS_REGION);
  found.exists = [await client.bucketExists(bucket), await client.bucketExists(`${bucket}-none`)];
  await client.setBucketEncryption(bucket, {
    Rule: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "aws:kms", KMSMasterKeyID: process.env.KEY } }],
  });
  const { ServerSideEncryptionConfiguration } = await client.getBucketEncryption(bucket);
  found.encryption = ServerSideEncryptionConfiguration.Rule.ApplyServerSideEncryptionByDefault.SSEAlgorithm;

  const data = crypto.randomBytes(11 * MIB + 3);
  await client.putObject(bucket, "a/small é", "hello", 5, { "X-Amz-Meta-Color": "red" });
  const halves = [data.subarray(0, 6 * MIB), data.subarray(6 * MIB)];
  client.partSize = 5 * MIB;
  await client.putObject(bucket, "a/large", Readable.from(halves, { objectMode: false }));
  const stat = await client.statObject(bucket, "a/small é");
  found.stat = [stat.size, stat.metaData.color, stat.lastModified instanceof Date];
  found.sealed = stat.metaData["x-amz-server-side-encryption"] || null;
  found.large = Buffer.compare(await bytes(await client.getObject(bucket, "a/large")), data) === 0;
  const partial = await bytes(await client.getPartialObject(bucket, "a/large", 7, 9));
  found.partial = Buffer.compare(partial, data.subarray(7, 16)) === 0;

  await client.copyObject(bucket, "copy", `/${bucket}/a/large`);
  // It does not encode the names of sources, and says nothing where it fails.
  await client.putObject(bucket, "tail", "hello");
  const sources = ["a/large", "tail"].map((object) => new minio.CopySourceOptions({ Bucket: bucket, Object: object }));
  await client.composeObject(new minio.CopyDestinationOptions({ Bucket: bucket, Object: "both" }), sources);
  const both = await bytes(await client.getObject(bucket, "both"));
  found.both = Buffer.compare(both, Buffer.concat([data, Buffer.from("hello")])) === 0;
  await client.setObjectTagging(bucket, "copy", { k: "v" });
  found.tags = await client.getObjectTagging(bucket, "copy");

  const list = async (prefix) => {
    const names = [];
    for await (const object of client.listObjectsV2(bucket, prefix, true)) {
      names.push(object.name);
    }
    return names;
  };
  found.listed = await list("");
  found.below = await list("a/");

  found.presigned = await (await fetch(await client.presignedGetObject(bucket, "a/small é", 60))).text();
  const put = await client.presignedPutObject(bucket, "by url", 60);
  found.presignedPut = (await fetch(put, { method: "PUT", body: "x" })).status;
  const policy = client.newPostPolicy();
  policy.setBucket(bucket);
  policy.setKey("posted");
  policy.setExpires(new Date(Date.now() + 60_000));
  const { postURL, formData } = await client.presignedPostPolicy(policy);
  const form = new FormData();
  Object.entries(formData).forEach(([name, value]) => form.append(name, value));
  form.append("file", new Blob(["posted"]), "file");
  found.posted = (await fetch(postURL, { method: "POST", body: form })).status;

  await client.setBucketVersioning(bucket, { Status: "Enabled" });
  found.versioning = (await client.getBucketVersioning(bucket)).Status;
  await client.setBucketVersioning(bucket, { Status: "Suspended" });
  found.missing = await failure(client.getObject(bucket, "none"));
  found.notEmpty = await failure(client.removeBucket(bucket));
  await client.removeObjects(bucket, await list(""));
  const versions = [];
  for await (const object of client.listObjects(bucket, "", true, { IncludeVersion: true })) {
    versions.push({ name: object.name, versionId: object.versionId });
  }
  await client.removeObjects(bucket, versions);
  await client.removeBucket(bucket);
  found.gone = !(await client.bucketExists(bucket));
  process.stdout.write(JSON.stringify(found));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
