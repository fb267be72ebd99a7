// SPDX-License-Identifier: Apache-2.0
// Who may deliver, as an administrator decides it in the browser: enrolment closed, a probe that
// waits and is approved, one that is revoked and restored, and a join token taken away as a file.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { faintText, newPage, output, Site, startBrowser, until } from './programs.mjs';

const password = 'a good long password';
const site = new Site();
let browser, page;
const steps = [];
const step = (name, body) => steps.push([name, body]);
const shot = (name) => page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
const pending = () => page.locator('[data-test=pending] li');
const row = (name) => page.locator('tr.row', { hasText: name });

async function configure(name) {
  const [data, events] = site.ports;
  const file = join(site.folder, `${name}.conf`);
  writeFileSync(file, `-i=lo\n--zmq-probe-mode=\n--ntopng=tcp://127.0.0.1:${data}\n--zmq-publish-events=tcp://127.0.0.1:${events}\n--zmq-encryption-key=${site.publicKey()}\n`);
  return file;
}

step('a hub with an administrator', async () => {
  await site.startHub();
  browser = await startBrowser();
  page = await newPage(browser, site);
  await site.startTraffic();
  await page.goto(site.setupLink());
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password, at least').fill(password);
  await page.getByLabel('Password again').fill(password);
  await page.getByRole('button', { name: 'Make the administrator' }).click();
  await page.getByText('No probe has connected yet').waitFor();
});

step('while enrolment is open, a probe is admitted and called new', async () => {
  site.startProbe(await configure('first'), 'first');
  await page.goto(`${site.url}/probes`);
  await page.getByRole('heading', { name: 'New probes: open' }).waitFor();
  await row('first').waitFor();
  await row('first').getByText('new', { exact: true }).waitFor();
  await page.getByText('first is new today.').waitFor();
  await shot('probes-open');
});

step('enrolment is closed with one click: the next probe waits, and the page says why', async () => {
  await page.getByRole('button', { name: 'Close enrolment' }).click();
  await page.getByRole('heading', { name: 'New probes: approve' }).waitFor();
  const probe = site.startProbe(await configure('second'), 'second', { WEIR_PROBE_PROBE_ID: 'second' });
  await pending().filter({ hasText: 'second' }).waitFor();
  await pending().filter({ hasText: 'An administrator of the hub has to approve it' }).waitFor();
  assert.equal(await row('second').count(), 0, 'not among those that deliver');
  await page.getByTitle('1 waiting to be admitted').waitFor();
  await until('the probe says so', () => probe.said.includes('has not admitted'));
  await shot('probes-pending');
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 390, height: 844 } }]]) {
    const other = await newPage(browser, site, { storageState: await page.context().storageState(), ...options });
    await other.goto(`${site.url}/probes`);
    await other.locator('[data-test=pending] li').first().waitFor();
    await other.locator('[data-test=tokens]').waitFor();
    await other.screenshot({ path: join(output, `probes-pending-${name}.png`), fullPage: true });
    assert.deepEqual(await other.evaluate(faintText), [], name);
    assert.ok(await other.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: no sideways scrolling`);
    assert.deepEqual(other.wrong, []);
    await other.context().close();
  }
  assert.deepEqual(await page.evaluate(faintText), []);
});

step('approved, it delivers', async () => {
  await pending().filter({ hasText: 'second' }).getByRole('button', { name: 'Approve' }).click();
  await row('second').waitFor();
  await until('its state', async () => /capturing/.test(await row('second').innerText()));
  assert.equal(await pending().count(), 0);
});

step('it gets a name, a site and a tenant', async () => {
  await row('second').click();
  const form = page.locator('tr.more form');
  await form.getByLabel('Name').fill('front door');
  await form.getByLabel('Site').fill('north');
  await form.getByLabel('Tenant').fill('acme');
  await form.getByRole('button', { name: 'Save' }).click();
  await row('front door').waitFor();
  await row('front door').getByText('north, acme').waitFor();
  await shot('probes-edit');
  // the arrows between the numbers are there for those who see them
  assert.deepEqual((await page.evaluate(faintText)).filter((text) => !text.endsWith('→')), []);
});

step('revoked, it is cut, and restored it is admitted again', async () => {
  const more = page.locator('tr.more');
  await more.getByRole('button', { name: 'Revoke' }).click();
  await more.getByRole('button', { name: 'Revoke its key' }).click();
  await row('front door').getByText('its key is revoked').waitFor();
  await shot('probes-revoked');
  await more.getByRole('button', { name: 'Restore its key' }).click();
  await until('its state', async () => !/revoked/.test(await row('front door').innerText()));
});

step('a join token is made, shown once, and taken away in a configuration', async () => {
  const panel = page.locator('[data-test=tokens]');
  await panel.getByLabel('What it is for').fill('shop in the north');
  await panel.getByLabel('Site').fill('north');
  await panel.getByRole('button', { name: 'Make a token' }).click();
  await panel.getByText('This is shown once').waitFor();
  assert.match(await panel.locator('[data-test=key-string]').innerText(), /^.{6}•+$/, 'masked');
  await panel.getByText('Secret').waitFor();
  await shot('probes-token');
  await page.goto(`${site.url}/interfaces/1`);
  await page.getByText('New probes wait until an administrator approves them').waitFor();
  await shot('interface-approve');
  await page.goto(`${site.url}/probes`);
  await panel.getByText('shop in the north').waitFor();
  assert.equal(await panel.locator('[data-test=key-string]').count(), 0, 'not shown again');
  await panel.getByLabel('Site').fill('north');
  await panel.getByRole('button', { name: 'Make a token' }).click();
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    panel.getByRole('button', { name: 'Download configuration with it' }).click(),
  ]);
  const file = join(site.folder, 'token.conf');
  await download.saveAs(file);
  const text = readFileSync(file, 'utf8');
  assert.match(text, /This is a secret/);
  await panel.getByRole('button', { name: 'Done' }).click();
  assert.equal(await panel.locator('[data-test=key-string]').count(), 0);

  await page.getByRole('button', { name: 'Join token', exact: true }).click();
  await page.getByRole('heading', { name: 'New probes: join token' }).waitFor();
  writeFileSync(file, text.replace('<interface>', 'lo'));
  site.startProbe(file, 'third', { WEIR_PROBE_PROBE_ID: 'third' });
  await row('third').waitFor();
  assert.match(await row('third').innerText(), /north/);
  await page.reload();
  await panel.getByText('used up').waitFor();
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

test('who may deliver', { timeout: 240_000 }, async (t) => {
  try {
    for (const [name, body] of steps) {
      let failed;
      await t.test(name, async () => {
        try {
          await body();
        } catch (cause) {
          failed = cause;
          throw cause;
        }
      });
      if (failed) {
        await page?.screenshot({ path: join(output, 'failed-admission.png') }).catch(() => {});
        console.log(site.log());
        break;
      }
    }
  } finally {
    await browser?.close();
    await site.end();
  }
});
