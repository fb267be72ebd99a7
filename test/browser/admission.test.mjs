// SPDX-License-Identifier: Apache-2.0
// Who may deliver, as an administrator decides it in the browser: enrolment closed, a probe that
// waits and is approved, one that is revoked and restored, and a join token taken away as a file.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { becomeAdministrator, faintText, newPage, otherLooks, output, runSteps, Site, startBrowser, until } from './programs.mjs';

const site = new Site();
let page;
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
  page = await newPage(await startBrowser(), site);
  await site.startTraffic();
  await becomeAdministrator(page, site);
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
  await otherLooks(page, site, 'probes-pending', '/probes', async (other) => {
    await other.locator('[data-test=pending] li').first().waitFor();
    await other.locator('[data-test=tokens]').waitFor();
  });
  assert.deepEqual(await page.evaluate(faintText), []);
});

step('approved, it delivers', async () => {
  await pending().filter({ hasText: 'second' }).getByRole('button', { name: 'Approve' }).click();
  await row('second').waitFor();
  await until('its state', async () => /capturing/.test(await row('second').innerText()));
  await until('nobody waits', async () => (await pending().count()) === 0);
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
  assert.deepEqual(await page.evaluate(faintText), []);
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
  await row('third').getByText('north').waitFor();
  await page.reload();
  await panel.getByText('used up').waitFor();
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('who may deliver', steps, site, () => page);
