// Verifies the deliveries on stdin ({headers, body_base64, secret, public_key, verifies}) by the libraries of npm, and
// by Node's own ed25519 as a receiver without a library does. Fails on the first surprise.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.CLIENTS + "/");
const libraries = {
  standardwebhooks: require("standardwebhooks").Webhook,
  svix: require("svix").Webhook,
};

function ed25519({ headers, public_key }, body) {
  const raw = Buffer.from(public_key.replace("whpk_", ""), "base64");
  const x = raw.toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  const start = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  const message = Buffer.concat([Buffer.from(start), body]);
  const signatures = headers["webhook-signature"].split(" ").filter((one) => one.startsWith("v1a,"));
  return signatures.some((one) => verify(null, message, key, Buffer.from(one.slice(4), "base64")));
}

for (const delivery of JSON.parse(readFileSync(0, "utf8"))) {
  const body = Buffer.from(delivery.body_base64, "base64");
  for (const [name, Webhook] of Object.entries(libraries)) {
    let verified = true;
    try {
      new Webhook(delivery.secret).verify(body, delivery.headers);
    } catch (error) {
      verified = false;
      if (delivery.verifies) throw new Error(`${name}: ${error}`);
    }
    if (verified !== delivery.verifies) throw new Error(`${name} takes what it should refuse`);
    console.log(`${name}: ${verified ? "verified" : "refused"}`);
  }
  if (!ed25519(delivery, body)) throw new Error("the ed25519 signature does not verify");
  if (ed25519(delivery, Buffer.concat([body, body, Buffer.from("x")]))) throw new Error("ed25519 takes another body");
  console.log("node:crypto ed25519: verified");
}
