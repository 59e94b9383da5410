// The dashboard in a real browser: node dashboard.mjs ADMIN PUBLIC [TOKEN]. Exits with 1 and says what is wrong.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { get } from "node:http";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.CLIENTS, "package.json"))("playwright-core");
const [admin, open, token] = process.argv.slice(2);
const LIGHT = 150 * 1024;

const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "browser-")), {
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  viewport: { width: 1280, height: 900 },
  acceptDownloads: true,
});
context.setDefaultTimeout(20_000);
const page = context.pages()[0] ?? (await context.newPage());

// What no page may do, whatever it shows.
const wrong = [];
page.on("pageerror", (error) => wrong.push(`script: ${error.message}`));
page.on("dialog", (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on("console", (message) => {
  const text = message.text();
  if (/Content Security Policy|Refused to/.test(text)) wrong.push(`console: ${text}`);
});
page.on("request", (request) => {
  const url = request.url();
  if (!url.startsWith(admin) && !url.startsWith("data:") && !url.startsWith("blob:")) wrong.push(`loads ${url}`);
});

const go = (path) => page.goto(admin + path);
// Not by fetch, which says that it is a browser.
const ask = (path) => new Promise((done, failed) => {
  get(open + path, (answer) => {
    answer.resume();
    answer.on("end", () => done(answer.headers["x-request-id"]));
  }).on("error", failed);
});
const api = async (path) => {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  return (await fetch(`${admin}/api/v1${path}`, { headers })).json();
};
const ended = async (id) => {
  for (;;) {
    const run = await api(`/runs/${id}`);
    if (run.success !== null) return run;
    await new Promise((done) => setTimeout(done, 20));
  }
};
const text = (selector) => page.locator(selector).first().innerText();
const fits = async (what) => {
  const [wide, view] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= view, `${what} is ${wide} wide in ${view}`);
};

const steps = {
  async "one logs in with the token alone, and comes back to where one was"() {
    if (!token) return;
    await go("/runs?state=failed");
    assert.equal(new URL(page.url()).pathname, "/login");
    await page.fill("input[name=token]", "wrong");
    await page.click("button");
    await page.waitForSelector("[role=alert]");
    await page.fill("input[name=token]", token);
    await page.click("button");
    await page.waitForURL(`${admin}/runs?state=failed`);
  },
  async "an empty store says what to do"() {
    await go("/runs");
    assert.match(await text(".empty"), /No runs yet|No run meets/);
    await go("/");
    assert.match(await text("main"), /0\s*queued/);
  },
  async "runs are listed, marked, and told as success and failure"() {
    await ended(await ask("/ok?async=true"));
    await ended(await ask("/bad?async=true"));
    await ask("/ok?webhookEndpoint=http%3A%2F%2F127.0.0.1%3A1%2F");
    await go("/runs");
    const rows = await page.locator("#rows tr").allInnerTexts();
    assert.equal(rows.length, 3);
    assert.match(rows[0], /success[\s\S]*sync \+ webhook/);
    assert.match(rows[1], /failure[\s\S]*upstream status[\s\S]*async/);
    assert.match(rows[2], /success[\s\S]*async/);
  },
  async "filters are in the URL, and a wrong one is told"() {
    await go("/runs");
    await page.selectOption("select[name=success]", "false");
    await page.click("button.primary");
    await page.waitForURL(`${admin}/runs?success=false`);
    assert.equal(await page.locator("#rows tr").count(), 1);
    await go("/runs?since=yesterday");
    assert.match(await text(".alert"), /since/);
    await go("/runs/nonsense");
    assert.match(await text(".problem"), /No run has this id/);
  },
  async "the list is live, and nothing in it jumps"() {
    const id = await ask("/held?async=true");
    await go("/runs");
    assert.match(await text(`#run-${id}`), /running/);
    const first = page.locator("#rows tr").first();
    const before = await first.getAttribute("id");
    await ask("/ok?async=true");
    await page.waitForSelector("#news:not([hidden])");
    assert.match(await text("#news"), /1 new/);
    assert.equal(await first.getAttribute("id"), before);
    await fetch(`${process.env.GATE}/open`);
    await page.waitForFunction((id) => /success/.test(document.getElementById(`run-${id}`).innerText), id);
    await page.click("#news");
    await page.waitForFunction((before) => document.querySelector("#rows tr").id !== before, before);
  },
  async "a run is cancelled, its page follows, and another repeats it"() {
    const id = await ask("/forever?async=true");
    await go(`/runs/${id}`);
    assert.match(await text("h1"), /running/);
    await page.click("button:text-is('Repeat')");
    await page.waitForFunction((id) => !location.href.includes(id), id);
    for (const path of [new URL(page.url()).pathname, `/runs/${id}`]) {
      await go(path);
      await page.click("summary:has-text('Cancel')");
      await page.click("button.danger");
      await page.waitForSelector("h1 .badge.off");
      assert.match(await text("h1"), /failure[\s\S]*cancelled/);
    }
  },
  async "a dead delivery is made again, with each answer in the timeline"() {
    const id = await ask(`/ok?async=true&webhookEndpoint=${encodeURIComponent(`${process.env.GATE}/refuse`)}`);
    for (;;) {
      const { delivery } = await api(`/runs/${id}`);
      if (delivery?.state === "dead") break;
    }
    await go(`/runs/${id}`);
    assert.match(await text(".timeline"), /Delivery attempt 3[\s\S]*503[\s\S]*Delivery dead/);
    await page.click("button:text-is('Redeliver')");
    await page.waitForFunction(() => /Delivery attempt 4/.test(document.querySelector(".timeline").innerText));
    await go("/runs?delivery=dead");
    await page.click("text=redeliver…");
    assert.match(await text("main"), /deliveries meet the filter/);
    await page.click("main button");
    assert.match(await text("[role=status] >> nth=-1"), /were changed/);
  },
  async "what a response holds is shown and never run"() {
    const evil = await ask("/evil?async=true");
    await ended(evil);
    await go(`/runs/${evil}`);
    assert.match(await text("pre.response"), /<script>/);
    assert.match(await page.title(), /^Run /);
    const [saved] = await Promise.all([page.waitForEvent("download"), page.click("text=Download")]);
    assert.match(readFileSync(await saved.path(), "utf8"), /<script>/);
    const answer = await fetch(`${admin}/runs/${evil}/response`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    assert.equal(answer.headers.get("content-type"), "application/octet-stream");
    assert.match(answer.headers.get("content-disposition"), /^attachment/);
    const line = await ask("/line?async=true");
    await ended(line);
    await go(`/runs/${line}`);
    assert.equal((await text("pre.response")).length, 16 * 1024);
    await fits("a line of 10 MB");
    const binary = await ask("/binary?async=true");
    await ended(binary);
    await go(`/runs/${binary}`);
    assert.match(await text("pre.response"), /^000000  00 01 02/);
  },
  async "times are the viewer's, in UTC on hover"() {
    await go("/runs");
    const [shown, hover, zone] = await page.evaluate(() => {
      const time = document.querySelector("#rows time");
      return [time.textContent, time.title, new Date(time.dateTime).getHours()];
    });
    assert.match(hover, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC$/);
    assert.equal(Number(shown.match(/(\d\d):\d\d:\d\d/)[1]), zone);
  },
  async "keys lead to the filter and through the rows"() {
    await go("/runs");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    const second = await page.locator("#rows .when a").nth(1).getAttribute("href");
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), second);
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.name), "state");
    await page.keyboard.press("Escape");
  },
  async "pages fit a narrow screen, dark and light, and are light to load"() {
    const { runs } = await api("/runs?limit=1");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of [1280, 400]) {
        await page.setViewportSize({ width, height: 800 });
        for (const path of ["/", "/replicas", "/runs", `/runs/${runs[0].run_id}`, "/runs/nonsense"]) {
          let bytes = 0;
          const count = async (response) => { bytes += (await response.body().catch(() => "")).length; };
          page.on("response", count);
          await page.goto(admin + path, { waitUntil: "load" });
          page.off("response", count);
          await fits(`${path} at ${width}`);
          assert.ok(bytes <= LIGHT, `${path} weighs ${bytes} bytes`);
        }
      }
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  },
  async "a page that is open when its session ends says so"() {
    if (!token) return;
    await go("/");
    await context.clearCookies();
    await page.waitForURL(`${admin}/login*`);
  },
};

let failed = false;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    assert.deepEqual(wrong, []);
  } catch (error) {
    failed = true;
    console.error(`FAILED: ${name}\n${error.stack}\nat ${page.url()}\n${(await page.locator("body").innerText().catch(() => "")).slice(0, 1500)}`);
    break;
  }
}
await context.close();
process.exit(failed ? 1 : 0);
