// SPDX-License-Identifier: Apache-2.0
// A service provider's story: a licence for three probes is issued and installed through the web
// page, four probes are started from one image, three are at work and one waits and says why; one
// is revoked, and the fourth takes its seat. Then a licence that ends soon, and one that is revoked.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { becomeAdministrator, evaluationKey, faintText, newPage, otherLooks, output, program, runSteps, Site, startBrowser, until } from './programs.mjs';

const site = new Site();
let page, image, licence;
const probes = new Map();
const steps = [];
const step = (name, body) => steps.push([name, body]);
const shot = (name) => page.screenshot({ path: join(output, `licence-${name}.png`), fullPage: true });
const path = (name) => join(site.folder, name);
const tool = (...args) => execFileSync(program('weir-license'), args, { encoding: 'utf8' });
const said = () => page.locator('[data-test=licence]');
const held = (name) => page.locator('[data-test=held]', { hasText: name });
const waiting = (name) => page.locator('[data-test=seats-waiting] li', { hasText: name });
const install = () => page.locator('[data-test=install]');
const ask = (from) => page.evaluate(async (at) => (await fetch(at)).json(), `/api/v1${from}`);
const noFaintText = async () => assert.deepEqual(await page.evaluate(faintText), []);

async function paste(text) {
  await page.getByLabel('The line of text from your vendor').fill(text);
  await install().getByRole('button', { name: 'Install' }).click();
}

step('a vendor makes a key of his own, and what he signs with it holds where it is known', () => {
  writeFileSync(path('words'), 'a passphrase\n');
  const mine = ['--key', path('vendor.key'), '--passphrase-file', path('words')];
  const made = tool('keygen', '--kid', '2027a', ...mine);
  assert.equal(statSync(path('vendor.key')).mode & 0o777, 0o600);
  const known = /keys=(\S+)/.exec(made)[1];
  const file = path('vendor.license');
  tool('issue', ...mine, '--kind', 'cloud', '--customer', 'Norddeutsche Netze', '--probes', '3', '--expires', '365d', '-o', file);
  assert.match(tool('verify', file, '--vendor-key', known), /^valid until/);
  const elsewhere = spawnSync(program('weir-license'), ['verify', file], { encoding: 'utf8' });
  assert.equal(elsewhere.status, 1);
  assert.match(elsewhere.stderr, /2027a.*not built with/);

  // the programs under test know the evaluation key only
  licence = path('cloud.license');
  tool('issue', ...evaluationKey(site), '--kind', 'cloud', '--customer', 'Norddeutsche Netze', '--probes', '3', '--expires', '365d', '--id', 'L-3', '-o', licence);
});

step('an image for probes is made before there is a hub', async () => {
  site.licence = ''; // none: it comes through the page
  await site.givePorts();
  const [data, events] = site.ports;
  image = path('image');
  mkdirSync(image);
  const conf = join(image, 'probe.conf');
  writeFileSync(conf, `-i=lo\n--zmq-probe-mode=\n--ntopng=tcp://127.0.0.1:${data}\n--zmq-publish-events=tcp://127.0.0.1:${events}\n--zmq-encryption-key=${site.publicKey()}\n`);
  const state = { WEIR_PROBE_DATA_DIR: join(image, 'state'), WEIR_PROBE_EXIT_TIMEOUT: '0' };
  const golden = site.run('weir-probe', [conf], state);
  await until('it has a key', () => readdirSync(join(image, 'state')).includes('zmq-key.priv'));
  await golden.stop();
  const gone = execFileSync(program('weir-probe'), [conf, '--prepare-image', '--force'], { encoding: 'utf8', env: { ...process.env, ...state } });
  assert.match(gone, /removed .*zmq-key\.priv/);
});

step('a hub without a licence is in evaluation, and says what that is', async () => {
  await site.startHub();
  page = await newPage(await startBrowser(), site);
  await becomeAdministrator(page, site);
  await until('g l goes there', async () => {
    for (const key of 'gl') await page.keyboard.press(key);
    await page.waitForURL((url) => url.pathname === '/licence', { timeout: 2000, waitUntil: 'commit' });
    return true;
  });
  await said().getByText('Evaluation: this hub has no licence').waitFor();
  await said().getByText('In evaluation everything works, and 2 probes can be at work').waitFor();
  await page.getByRole('heading', { name: '0 of 2 seats are taken' }).waitFor();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: site.url });
  await Promise.all([
    page.getByRole('button', { name: 'Copied' }).waitFor(),
    page.getByRole('button', { name: 'Copy System ID' }).click(),
  ]);
  const id = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(id, /^weir1-/);
  assert.equal(id, (await ask('/licence')).system_id.text);
  await shot('evaluation');
  await noFaintText();
});

step('a damaged licence says what is wrong with it, and changes nothing', async () => {
  const before = await ask('/licence');
  const text = readFileSync(licence, 'utf8').trim();
  const middle = text.length >> 1;
  for (const wrong of [text.slice(0, middle), text.slice(0, middle) + (text[middle] === 'A' ? 'B' : 'A') + text.slice(middle + 1), 'hello']) {
    await paste(wrong);
    const problem = install().getByRole('alert');
    await problem.getByText(/^This is not taken: .{20}/).waitFor();
    assert.equal(await page.getByLabel('The line of text from your vendor').inputValue(), wrong, 'it stays to be mended');
    if (wrong === 'hello') await shot('refused');
  }
  await noFaintText();
  const after = await ask('/licence');
  assert.deepEqual([after.mode, after.state, after.licence, after.revocations], [before.mode, before.state, null, before.revocations]);
  await said().getByText('Evaluation: this hub has no licence').waitFor();
});

step('the licence is installed through the page', async () => {
  await paste(readFileSync(licence, 'utf8'));
  await install().getByText('Installed: licence L-3 of Norddeutsche Netze, 3 seats').waitFor();
  await said().getByText('Licence of Norddeutsche Netze: valid').waitFor();
  await page.getByRole('heading', { name: '0 of 3 seats are taken' }).waitFor();
  assert.match(await page.locator('[data-test=expires]').innerText(), /^20\d\d-\d\d-\d\d, 36[56] days left$/);
  await page.locator('[data-test=grace]', { hasText: '30 days more' }).waitFor();
  await shot('installed');
  assert.equal((await ask('/licence')).mode, 'cloud');
});

step('four probes of one image: three are at work, the fourth waits and is told why', async () => {
  await site.startTraffic();
  for (const name of ['site-1', 'site-2', 'site-3', 'site-4']) {
    cpSync(image, path(name), { recursive: true });
    probes.set(name, site.run('weir-probe', [join(path(name), 'probe.conf')], {
      WEIR_PROBE_DATA_DIR: join(path(name), 'state'), WEIR_PROBE_PROBE_NAME: name, WEIR_PROBE_PROBE_ID: name,
    }));
    if (name !== 'site-4') await held(name).getByText('connected').waitFor();
  }
  await waiting('site-4').getByText('All 3 seats of the licence are taken by earlier or pinned probes').waitFor();
  await waiting('site-4').getByText('(it is the next)').waitFor();
  await page.getByRole('heading', { name: '3 of 3 seats are taken, 1 probe waits' }).waitFor();
  await until('the probe says so too', () => /all 3 seats of the licence are taken/.test(probes.get('site-4').said));
  await page.getByTitle('1 waiting for a seat').waitFor();
  await until('three deliver, one does not', async () => {
    const all = await ask('/probes');
    const stored = (name) => all.find((probe) => probe.name === name).flows_stored;
    assert.equal(stored('site-4'), 0, 'nothing of who waits is stored');
    return ['site-1', 'site-2', 'site-3'].every((name) => stored(name) > 0);
  });
  await shot('seats');
  await noFaintText();
  await otherLooks(page, site, 'licence-seats', '/licence', (other) => other.locator('[data-test=seats-waiting] li').waitFor());

  await page.goto(`${site.url}/probes`);
  await page.locator('tr.row', { hasText: 'site-4' }).getByText('all 3 seats of the licence are taken').waitFor();
  await page.getByRole('link', { name: '1 probe waits for a seat' }).waitFor();
  assert.equal(await page.locator('[data-test=pending]').count(), 0, 'nobody has to say yes to it');
  await shot('probes');
  await noFaintText();
  await otherLooks(page, site, 'licence-probes', '/probes', (other) => other.locator('tr.row', { hasText: 'site-4' }).waitFor());
  await page.goto(`${site.url}/interfaces/1`);
  await page.locator('[data-test=waiting]').getByText(/site-4 at 127.0.0.1 is connected and waits: all 3 seats/).waitFor();
});

step('pinned, it comes first, and the latest of the others waits', async () => {
  await page.goto(`${site.url}/licence`);
  await page.getByRole('button', { name: 'Pin site-4', exact: true }).click();
  await held('site-4').getByText('pinned').waitFor();
  await waiting('site-3').waitFor();
  await shot('pinned');
  await page.getByRole('button', { name: 'Unpin site-4' }).click();
  await waiting('site-4').waitFor();
  await held('site-3').getByText('connected').waitFor();
});

step('one is revoked: the fourth has its seat within five seconds, and delivers what it kept', async () => {
  await page.goto(`${site.url}/probes`);
  await page.locator('tr.row', { hasText: 'site-2' }).click();
  const more = page.locator('tr.more');
  await more.getByRole('button', { name: 'Revoke' }).click();
  const [request] = await Promise.all([
    page.waitForRequest((each) => /\/revoke$/.test(each.url())),
    more.getByRole('button', { name: 'Revoke its key' }).click(),
  ]);
  await page.locator('tr.row', { hasText: 'site-2' }).getByText('its key is revoked').waitFor();
  const from = Math.round(request.timing().startTime);
  await page.goto(`${site.url}/licence`);
  await held('site-4').getByText('connected').waitFor();
  const took = (await ask('/licence')).seats.held.find((probe) => probe.name === 'site-4').since_ms - from;
  assert.ok(took > -1000 && took <= 5000, `${took} ms`);
  await page.getByRole('heading', { name: '3 of 3 seats are taken' }).waitFor();
  assert.equal(await held('site-2').count(), 0);
  const { first_seen_ms, id } = (await ask('/probes')).find((probe) => probe.name === 'site-4');
  await until('its flows from before are stored', async () => {
    const { total } = await ask(`/flows?from=${first_seen_ms - 60_000}&to=${from}&filter=${encodeURIComponent(`probe = ${id}`)}`);
    return total > 0;
  });
  await shot('admitted');
});

step('a licence that ends soon is spoken of on every page', async () => {
  assert.equal(await page.locator('[data-test=licence-banner]').count(), 0);
  tool('issue', ...evaluationKey(site), '--kind', 'cloud', '--customer', 'Norddeutsche Netze', '--probes', '3', '--expires', '10d', '--id', 'L-4', '-o', path('short.license'));
  await install().locator('input[type=file]').setInputFiles(path('short.license'));
  await install().getByRole('button', { name: 'Install' }).click();
  await install().getByText('Installed: licence L-4').waitFor();
  for (const at of ['/', '/flows', '/probes', '/interfaces']) {
    await page.goto(site.url + at);
    await page.locator('[data-test=licence-banner]', { hasText: 'within 14 days' }).waitFor();
  }
  await shot('warning');
  await noFaintText();
  await page.getByRole('link', { name: 'See the licence' }).click();
  await page.locator('[data-test=expires]', { hasText: /1[01] days left/ }).waitFor();
  assert.equal((await ask('/licence')).seats.used, 3, 'the same three');
});

step('a list of revoked licences takes it out of force: two seats are left, and it is said', async () => {
  // not as revoked.list beside the licence's file, where the hub finds it by itself
  tool('revoke', path('from-the-vendor.list'), 'L-4', ...evaluationKey(site));
  await paste(readFileSync(path('from-the-vendor.list'), 'utf8'));
  await install().getByText('The list of revoked licences').waitFor();
  await said().getByText('Evaluation. Licence of Norddeutsche Netze: revoked').waitFor();
  await page.getByRole('heading', { name: '2 of 2 seats are taken, 1 probe waits' }).waitFor();
  for (const name of ['site-1', 'site-3']) await held(name).waitFor();
  await waiting('site-4').waitFor();
  await shot('revoked');
  await noFaintText();
  await page.goto(`${site.url}/`);
  await page.locator('[data-test=licence-banner]', { hasText: 'revoked' }).waitFor();
  await shot('revoked-overview');
  await otherLooks(page, site, 'licence-revoked', '/', (other) => other.locator('[data-test=licence-banner]').waitFor());
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('a licence and its seats', steps, site, () => page);
