// SPDX-License-Identifier: Apache-2.0
// The change of the hub's key, as an administrator does it in the browser: a next key is made, a
// probe that is away is named, it comes and confirms, and the change is finished.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { becomeAdministrator, faintText, freePorts, newPage, otherLooks, output, runSteps, Site, startBrowser, until } from './programs.mjs';

const site = new Site();
let page, old;
const steps = [];
const step = (name, body) => steps.push([name, body]);
const shot = (name) => page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
const panel = () => page.locator('[data-test=server-key]');
const button = (name) => panel().getByRole('button', { name, exact: true });
const shownKey = () => page.locator('#public-key').innerText();

function start(name) {
  const [data, events] = site.ports;
  const file = join(site.folder, `${name}.conf`);
  writeFileSync(file, `-i=lo\n--zmq-probe-mode=\n--ntopng=tcp://127.0.0.1:${data}\n--zmq-publish-events=tcp://127.0.0.1:${events}\n--zmq-encryption-key=${old}\n`);
  return site.startProbe(file, name, { WEIR_PROBE_PROBE_ID: name });
}

step('a hub with an administrator and two probes, one of them away', async () => {
  await site.startHub();
  old = site.publicKey();
  page = await newPage(await startBrowser(), site);
  await site.startTraffic();
  await becomeAdministrator(page, site);
  start('north');
  const south = start('south');
  await page.goto(`${site.url}/probes`);
  for (const name of ['north', 'south']) await page.locator('tr.row', { hasText: name }).waitFor();
  await south.stop();
  await page.locator('tr.row', { hasText: 'south' }).getByText('not connected').first().waitFor();
});

step('a next key is made: who has confirmed it is counted, who has not is named', async () => {
  await page.goto(`${site.url}/interfaces/1`);
  const shown = await shownKey();
  await button('Make a next key').click();
  await panel().getByLabel('First port').fill(String(site.ports[0])); // in use
  await button('Make it').click();
  await panel().getByText('cannot listen on').waitFor();
  await button('Make a next key').click();
  const [first] = await freePorts(1);
  await panel().getByLabel('First port').fill(String(first));
  await button('Make it').click();
  await panel().getByText('1 of 2 probes has confirmed it').waitFor();
  await panel().getByText(`TCP ports ${first} and ${first + 1}`).waitFor();
  assert.match(await panel().locator('[data-test=unconfirmed] li').innerText(), /^south away, last heard/);
  assert.equal(await shownKey(), shown, 'new probes are given the present key');
  await shot('server-key-handing');
  assert.deepEqual(await page.evaluate(faintText), []);
});

step('finishing says who would be lost', async () => {
  await button('Finish the change').click();
  await panel().getByText('This probe cannot connect any more').waitFor();
  await button('Retire the present key all the same').waitFor();
  await shot('server-key-unconfirmed');
  await button('Not now').click();
});

step('the one that was away comes with its old configuration, and confirms', async () => {
  start('south');
  await panel().getByText('all 2 probes have confirmed it').waitFor();
  await otherLooks(page, site, 'server-key', '/interfaces/1', (other) => other.getByText('all 2 probes have confirmed it').waitFor());
});

step('the change is finished: the page shows the new key, and both probes deliver by it', async () => {
  const shown = await shownKey();
  await button('Finish the change').click();
  await button('Retire the present key').click();
  await button('Make a next key').waitFor();
  await until('the page shows another key', async () => (await shownKey()) !== shown);
  assert.notEqual(site.publicKey(), old);
  await page.goto(`${site.url}/probes`);
  for (const name of ['north', 'south'])
    await until(name, async () => /capturing/.test(await page.locator('tr.row', { hasText: name }).innerText()));
  await page.goto(`${site.url}/interfaces/1`);
  await panel().getByText('since').waitFor();
  await shot('server-key-changed');
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('the change of the server key', steps, site, () => page);
