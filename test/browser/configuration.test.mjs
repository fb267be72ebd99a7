// SPDX-License-Identifier: Apache-2.0
// A probe configured in the browser: set, confirmed, refused with its reason, taken back; and what
// is set of all probes.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { becomeAdministrator, faintText, newPage, otherLooks, output, runSteps, Site, startBrowser, until } from './programs.mjs';

const site = new Site();
let page;
const steps = [];
const step = (name, body) => steps.push([name, body]);
const shot = (name) => page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
const row = () => page.locator('tr.row', { hasText: 'first' });
const form = () => page.getByRole('form', { name: 'Configuration of first' });
const standing = () => page.locator('[data-test=standing]');
const line = (name) => form().locator('tr', { hasText: name });

step('a hub and a probe', async () => {
  await site.startHub();
  page = await newPage(await startBrowser(), site);
  await site.startTraffic();
  await becomeAdministrator(page, site);
  const [data, events] = site.ports;
  const file = join(site.folder, 'first.conf');
  writeFileSync(file, `-i=lo\n-f=tcp\n--zmq-probe-mode=\n--ntopng=tcp://127.0.0.1:${data}\n--zmq-publish-events=tcp://127.0.0.1:${events}\n--zmq-encryption-key=${site.publicKey()}\n`);
  site.startProbe(file, 'first');
  await page.goto(`${site.url}/probes`);
  await row().click();
  await standing().getByText('as it was started').waitFor();
  await until('what it runs with', async () => /Filter\s+tcp\s+tcp\s/.test(await line('Filter').innerText()));
});

step('a filter and sampling are set, and confirmed', async () => {
  assert.ok(await form().getByRole('button', { name: 'Set', exact: true }).isDisabled(), 'nothing to set');
  await form().getByLabel('Set Filter here').check();
  await form().getByLabel('Filter', { exact: true }).fill('tcp or udp');
  await form().getByLabel('Set Sampling here').check();
  await form().getByLabel('Sampling', { exact: true }).fill('0');
  await form().getByRole('button', { name: 'Set', exact: true }).click();
  await form().getByText('Sampling: a whole number from 1').waitFor();
  await form().getByLabel('Sampling', { exact: true }).fill('2');
  await form().getByRole('button', { name: 'Set', exact: true }).click();
  await standing().getByText('version 1 is in force').waitFor();
  await standing().getByText('by ada').waitFor();
  await until('what it runs with', async () => /Filter\s+tcp or udp\s+tcp\s/.test(await line('Filter').innerText()));
  await line('Sampling').getByText('1 of 2 packets').waitFor();
  await shot('probe-configuration');
  assert.deepEqual(await page.evaluate(faintText), []);
});

step('what the probe refuses is shown with its reason', async () => {
  await form().getByLabel('Filter', { exact: true }).fill('tcp porl 80');
  await form().getByRole('button', { name: 'Set', exact: true }).click();
  await standing().getByText('version 2 is refused').waitFor();
  await standing().getByText("the filter 'tcp porl 80' is not valid").waitFor();
  await row().getByText('configuration refused').waitFor();
  assert.match(await line('Filter').innerText(), /tcp or udp/);
  await shot('probe-configuration-refused');
  await form().getByLabel('Filter', { exact: true }).fill('(tcp');
  await form().getByRole('button', { name: 'Set', exact: true }).click();
  await form().getByRole('alert').getByText('a parenthesis is not closed').waitFor();
  await otherLooks(page, site, 'probe-configuration', '/probes', async (other) => {
    await other.locator('tr.row', { hasText: 'first' }).click();
    await other.locator('[data-test=standing]').getByText('refused').waitFor();
  });
});

step('taken back, it is as it was started, but for what is set of all', async () => {
  await form().getByLabel('Set Filter here').uncheck();
  await form().getByLabel('Set Sampling here').uncheck();
  await form().getByRole('button', { name: 'Set', exact: true }).click();
  await standing().getByText('version 3 is in force').waitFor();
  const general = page.locator('[data-test=general]');
  await general.getByText('Nothing is set').click();
  await general.getByLabel('Set Idle timeout here').check();
  await general.getByLabel('Idle timeout', { exact: true }).fill('7');
  await general.getByRole('button', { name: 'Set', exact: true }).click();
  await standing().getByText('version 4 is in force').waitFor();
  await line('Idle timeout').getByText('as set for all probes').waitFor();
  await until('what it runs with', async () => /Filter\s+tcp\s+tcp\s/.test(await line('Filter').innerText()));
  await shot('probe-configuration-general');
  /* the browser names each request that was refused; one was, on purpose */
  assert.deepEqual(page.wrong.filter((text) => !/status of 400/.test(text)), []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('a probe is configured', steps, site, () => page);
