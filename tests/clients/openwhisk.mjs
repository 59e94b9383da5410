// Uses a proxy through the npm client `openwhisk`, unchanged, as its README shows. Arguments: the proxy's URL and a
// user:password of a namespace `guest` whose actions are those of the test. Fails on the first surprise.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.CLIENTS + "/");
const openwhisk = require("openwhisk");

const [apihost, api_key] = process.argv.slice(2);
const ow = openwhisk({ apihost, api_key });
const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

assert.deepEqual(await ow.namespaces.list(), ["guest"]);

// Without waiting: the id, and the record once it is there.
const { activationId } = await ow.actions.invoke({ name: "sample/hello", params: { name: "Ada" } });
assert.match(activationId, /^[0-9a-f]{32}$/);
let record;
while (!record) {
  record = await ow.activations.get(activationId).catch(async (error) => {
    assert.equal(error.statusCode, 404);
    assert.match(error.message, /The requested activation record does not exist/);
    await later(10);
  });
}
assert.equal(record.name, "sample/hello");
assert.deepEqual(record.response.result, { given: { name: "Ada" } });
const result = await ow.activations.result({ name: activationId });
assert.deepEqual(result, { result: { given: { name: "Ada" } }, success: true, status: "success" });
const { logs } = await ow.activations.logs({ activationId });
assert.deepEqual(logs, record.logs);
assert.equal(logs.length, 1);

// Waiting: the record, or the result alone.
const whole = await ow.actions.invoke({ name: "hello", blocking: true });
assert.equal(whole.response.success, true);
assert.deepEqual(await ow.actions.invoke({ name: "hello", blocking: true, result: true, params: { a: 1 } }), { given: { a: 1 } });
assert.deepEqual(await ow.actions.invoke({ name: "/_/hello", blocking: true, result: true }), { given: {} });

// The application's errors are rejections with its own words.
const failed = await ow.actions.invoke({ name: "fail", blocking: true }).catch((error) => error);
assert.equal(failed.statusCode, 502);
assert.match(failed.message, /--> "bad prompt"/);
assert.equal(failed.error.response.status, "application error");
const broken = await ow.actions.invoke({ name: "broken", blocking: true, result: true }).catch((error) => error);
assert.match(broken.message, /--> "The application answered 500 Internal Server Error\."/);

// A wait that is over: a plain object in place of a result.
const slow = await ow.actions.invoke({ name: "slow", blocking: true, result: true }).catch((object) => object);
assert.deepEqual(Object.keys(slow), ["activationId"]);

// Lists.
const list = await ow.activations.list({ limit: 2 });
assert.equal(list.length, 2);
assert.equal(list[0].name, "broken");
assert.equal((await ow.activations.list({ name: "sample/hello" }))[0].activationId, activationId);
assert.deepEqual(await ow.activations.list({ count: true, name: "hello" }), { activations: 3 });
const docs = await ow.activations.list({ docs: true, since: record.start, upto: Date.now() });
assert.deepEqual(docs.at(-1), record);
const range = await ow.activations.list({ limit: 201 }).catch((error) => error);
assert.equal(range.statusCode, 400);
assert.match(range.message, /The value '201' is not in the range of 0 to 200 for activations\./);

// Who may not.
const nobody = openwhisk({ apihost, api_key: "no:body" });
const refused = await nobody.activations.list().catch((error) => error);
assert.equal(refused.statusCode, 401);
const other = await ow.activations.list({ namespace: "other" }).catch((error) => error);
assert.equal(other.statusCode, 403);
console.log("all as expected");
