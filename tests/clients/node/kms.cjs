// AWS's JavaScript SDK v3 against KMS and S3, as applications use it: no option but the endpoint that the environment names.
// Prints what it found as JSON; the assertions are in test_kms_sdks.py.
"use strict";

const kms = require("@aws-sdk/client-kms");
const s3 = require("@aws-sdk/client-s3");

async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return {
      name: error.name,
      message: error.message,
      status: error.$metadata && error.$metadata.httpStatusCode,
      fault: error.$fault,
      typed: error instanceof kms.KMSServiceException,
    };
  }
}

const text = (bytes) => Buffer.from(bytes).toString("utf8");

async function main() {
  const client = new kms.KMSClient({});
  const send = (Command, input) => client.send(new Command(input));
  const found = {};

  const made = await send(kms.CreateKeyCommand, { Description: "from JavaScript", Tags: [{ TagKey: "a", TagValue: "b" }] });
  const KeyId = made.KeyMetadata.KeyId;
  found.created = made.KeyMetadata.CreationDate instanceof Date;
  found.state = made.KeyMetadata.KeyState;
  const AliasName = `alias/js-${KeyId}`;
  await send(kms.CreateAliasCommand, { AliasName, TargetKeyId: KeyId });

  const EncryptionContext = { purpose: "test", Größe: "Ünicode" };
  const sealed = await send(kms.EncryptCommand, { KeyId: AliasName, Plaintext: Buffer.from("secret"), EncryptionContext });
  const opened = await send(kms.DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob, EncryptionContext });
  found.plaintext = text(opened.Plaintext);
  found.wrongContext = await failure(send(kms.DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob }));

  const dataKey = await send(kms.GenerateDataKeyCommand, { KeyId, KeySpec: "AES_256", EncryptionContext });
  const unwrapped = await send(kms.DecryptCommand, { CiphertextBlob: dataKey.CiphertextBlob, EncryptionContext });
  found.dataKey = Buffer.compare(Buffer.from(dataKey.Plaintext), Buffer.from(unwrapped.Plaintext)) === 0;

  const signer = await send(kms.CreateKeyCommand, { KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" });
  const signing = { KeyId: signer.KeyMetadata.KeyId, Message: Buffer.from("m"), SigningAlgorithm: "ECDSA_SHA_256" };
  const { Signature } = await send(kms.SignCommand, signing);
  found.valid = (await send(kms.VerifyCommand, { ...signing, Signature })).SignatureValid;
  found.invalid = await failure(send(kms.VerifyCommand, { ...signing, Message: Buffer.from("n"), Signature }));
  const { PublicKey } = await send(kms.GetPublicKeyCommand, { KeyId: signing.KeyId });
  const verifier = require("node:crypto").createVerify("SHA256").update("m");
  found.verifiedByNode = verifier.verify(
    { key: Buffer.from(PublicKey), format: "der", type: "spki" },
    Buffer.from(Signature),
  );

  const { GrantToken } = await send(kms.CreateGrantCommand, {
    KeyId,
    GranteePrincipal: "arn:aws:iam::111122223333:role/worker",
    Operations: ["Decrypt"],
  });
  await send(kms.DescribeKeyCommand, { KeyId, GrantTokens: [GrantToken] });
  found.wrongToken = await failure(send(kms.EncryptCommand, { KeyId, Plaintext: Buffer.from("x"), GrantTokens: ["no"] }));

  let pages = 0;
  for await (const page of kms.paginateListKeys({ client, pageSize: 1 }, {})) {
    pages += page.Keys.length;
  }
  found.keys = pages;

  await send(kms.EnableKeyRotationCommand, { KeyId, RotationPeriodInDays: 100 });
  found.rotation = (await send(kms.GetKeyRotationStatusCommand, { KeyId })).RotationPeriodInDays;
  await send(kms.DisableKeyCommand, { KeyId });
  found.disabled = await failure(send(kms.EncryptCommand, { KeyId, Plaintext: Buffer.from("x") }));
  await send(kms.EnableKeyCommand, { KeyId });
  found.unknown = await failure(send(kms.DescribeKeyCommand, { KeyId: "12345678-1234-1234-1234-123456789012" }));

  const storage = new s3.S3Client({ forcePathStyle: true });
  const Bucket = process.env.BUCKET;
  await storage.send(
    new s3.PutObjectCommand({ Bucket, Key: "js", Body: "object", ServerSideEncryption: "aws:kms", SSEKMSKeyId: AliasName }),
  );
  const object = await storage.send(new s3.GetObjectCommand({ Bucket, Key: "js" }));
  found.object = await object.Body.transformToString();
  found.objectKey = object.SSEKMSKeyId === made.KeyMetadata.Arn;

  const ended = await send(kms.ScheduleKeyDeletionCommand, { KeyId, PendingWindowInDays: 7 });
  found.ended = ended.KeyState;
  await send(kms.DeleteAliasCommand, { AliasName });
  process.stdout.write(JSON.stringify(found));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
