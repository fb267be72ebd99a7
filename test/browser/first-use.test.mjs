// SPDX-License-Identifier: Apache-2.0
// What a new user does, in order, against the real hub and a real probe: set up, sign in, copy the
// key, download a configuration, start a probe from it, see its flows. Then what may go wrong.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { faintText, newPage, output, patienceMs, runSteps, Site, startBrowser, until } from './programs.mjs';

const password = 'a good long password';
const site = new Site();
let page, probe, port;
const steps = [];
const step = (name, body) => steps.push([name, body]);

const shot = (name) => page.screenshot({ path: join(output, `${name}.png`) });
const rows = () => page.locator('table.flows tbody tr');
// Slowly enough that new data comes in between: the chart must hold still meanwhile.
async function drag() {
  const box = await page.locator('.chart .u-over').boundingBox();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 60, { steps: 4 });
  await page.waitForTimeout(2500);
  await page.mouse.move(box.x + box.width * 0.95, box.y + 60, { steps: 2 });
  await page.mouse.up();
}
/* a chart may be laid out anew while it is taken hold of; a person would drag once more */
async function dragUntilZoomed(what) {
  const zoomed = (url) => /from=\d+&to=\d+/.test(url.search);
  await until(what, async () => {
    await page.locator('.chart .u-over').waitFor();
    await page.waitForTimeout(500);
    await drag();
    // dragged anew only when it is certain that this one did nothing
    await page.waitForURL(zoomed, { timeout: 5000, waitUntil: 'commit' });
    return true;
  }, 2 * patienceMs);
}
const text = async (selector) => (await page.locator(selector).first().innerText()).replaceAll('\u00a0', ' ').trim();

step('the hub starts, and so does the browser', async () => {
  await site.startHub();
  page = await newPage(await startBrowser(), site);
  port = await site.startTraffic();
});

step('without an administrator, every page says how to make one', async () => {
  await page.goto(`${site.url}/flows`);
  await page.getByText('This hub has no administrator yet.').waitFor();
  assert.match(await text('section'), /setup-link/);
  assert.equal(new URL(page.url()).pathname, '/setup');
});

step('the one-time link makes the administrator', async () => {
  const link = site.setupLink();
  assert.match(link, /^http:\/\/127\.0\.0\.1:\d+\/setup[#?]\S{20,}$/);
  await page.goto('about:blank');
  await page.goto(link);
  await page.getByLabel('Name').fill('ada');
  const make = page.getByRole('button', { name: 'Make the administrator' });
  await page.getByLabel('Password, at least').fill('short');
  await page.getByText('3 more characters are needed.').waitFor();
  assert.ok(await make.isDisabled());
  await page.getByLabel('Password, at least').fill(password);
  await page.getByLabel('Password again').fill(password + 'x');
  await page.getByText('The two passwords differ.').waitFor();
  assert.ok(await make.isDisabled());
  await shot('setup');
  await page.getByLabel('Password again').fill(password);
  await make.click();
  await page.getByText('No probe has connected yet').waitFor();
  assert.equal(new URL(page.url()).pathname, '/');
  assert.ok(!page.url().includes('#'), 'the token does not stay in the address');
  await shot('overview-empty');

  const second = await newPage(page.context().browser(), site);
  await second.goto(link);
  await second.getByText('Sign in to weir').waitFor();
  await second.context().close();
});

step('a session is left and opened again, and a wrong password is said', async () => {
  await page.getByTitle(/^Sign out/).click();
  await page.getByText('Sign in to weir').waitFor();
  await page.goto(`${site.url}/flows?range=1h`);
  await page.getByText('Sign in to weir').waitFor();
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password').fill('not this one');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  await shot('login');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Flows' }).waitFor();
  assert.equal(new URL(page.url()).search, '?range=1h', 'on to where one wanted to go');
  await page.goto(`${site.url}/`);
});

step('a page of its own may not use the session', async () => {
  const answer = await page.evaluate(async () => (await fetch('/api/v1/logout', { method: 'POST' })).status);
  assert.equal(answer, 403, 'without the CSRF token nothing is changed');
  assert.equal(await page.evaluate(async () => (await fetch('/api/v1/session')).status), 200);
});

step('Interface, Details: what it is, its key, the command, the ports', async () => {
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByRole('link', { name: 'Add a probe' }).click();
  await page.getByRole('button', { name: 'Copy public key' }).waitFor();
  const [data, events] = site.ports;
  assert.match(new URL(page.url()).pathname, /^\/interfaces\/\d+$/);
  assert.equal(await text('[data-test=id]'), new URL(page.url()).pathname.split('/')[2]);
  assert.match(await text('main'), new RegExp(`tcp://127\\.0\\.0\\.1:${data}c`));
  assert.equal(await text('[data-test=reach]'),
    `The probe needs outbound TCP to 127.0.0.1:${data} and 127.0.0.1:${events}, nothing inbound.`);
  const command = await text('#probe-command');
  for (const part of ['weir-probe -i ', `--ntopng tcp://127.0.0.1:${data}`, `--zmq-publish-events tcp://127.0.0.1:${events}`,
    '--zmq-probe-mode', `--zmq-encryption-key '${await text('#public-key')}'`])
    assert.ok(command.includes(part), `${part} in ${command}`);
  await page.getByText('Waiting for a probe').waitFor();
  await shot('interface-waiting');
});

step('the key is copied', async () => {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: site.url });
  // the button says so for a moment only
  await Promise.all([
    page.getByRole('button', { name: 'Copied' }).waitFor(),
    page.getByRole('button', { name: 'Copy public key' }).click(),
  ]);
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, await text('#public-key'));
  if (await page.locator('#public-key-hex').count()) {
    await page.getByText('As 80 hexadecimal digits').click();
    assert.equal(await text('#public-key-hex'), site.publicKey());
  } else assert.equal(copied, site.publicKey());
});

step('where the browser has no clipboard, the key is selected and the page says what to do', async () => {
  const state = await page.context().storageState();
  const plain = await newPage(page.context().browser(), site, { storageState: state });
  await plain.addInitScript(() => {
    Object.defineProperty(window, 'isSecureContext', { value: false });
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
    Document.prototype.execCommand = () => false;
  });
  await plain.goto(page.url());
  await plain.getByRole('button', { name: 'Copy public key' }).click();
  await plain.getByText('press Ctrl-C').waitFor();
  assert.equal(await plain.evaluate(() => getSelection().toString()), await text('#public-key'));
  assert.deepEqual(plain.wrong, []);
  await plain.context().close();
});

step('another address goes into command and file', async () => {
  const field = page.getByLabel('Address of this hub');
  await field.fill('hub.example.net');
  await page.locator('#probe-command', { hasText: `tcp://hub.example.net:${site.ports[0]}` }).waitFor();
  assert.match(await text('[data-test=reach]'), /hub\.example\.net:/);
  const href = await page.getByRole('link', { name: 'Download sample configuration' }).getAttribute('href');
  const file = await page.evaluate(async (at) => (await fetch(at)).text(), href);
  assert.ok(file.includes(`tcp://hub.example.net:${site.ports[0]}`));
  await field.fill('not an address;');
  await page.getByRole('alert').waitFor();
  await field.fill('127.0.0.1');
  await page.locator('#probe-command', { hasText: `tcp://127.0.0.1:${site.ports[0]}` }).waitFor();
});

step('a probe with a wrong key is named as that', async () => {
  const file = join(site.folder, 'wrong.conf');
  const [data, events] = site.ports;
  writeFileSync(file, ['-i=lo', `--ntopng=tcp://127.0.0.1:${data}`, `--zmq-publish-events=tcp://127.0.0.1:${events}`,
    '--zmq-probe-mode', `--zmq-encryption-key=${Buffer.from('A'.repeat(40)).toString('hex')}`, ''].join('\n'));
  const wrong = site.startProbe(file, 'wrong', { WEIR_PROBE_EXIT_TIMEOUT: '1' });
  await page.locator('[data-test=waiting]', { hasText: /127\.0\.0\.1.*key/ }).waitFor();
  await shot('interface-wrong-key');
  const spool = join(site.folder, 'probe-wrong', 'spool');
  await until('it has metered flows', () => readdirSync(spool).some((name) => name.endsWith('.ipfix.zst')));
  assert.equal((await wrong.stop()).code, 0, 'a live probe that stops has done its work');
  assert.match(wrong.said, /\d+ flows wait in .* for the next start/, 'nobody took them');
});

step('the downloaded configuration starts a probe once its interface is set', async () => {
  await page.evaluate(() => (window.notReloaded = true));
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('link', { name: 'Download sample configuration' }).click(),
  ]);
  assert.match(download.suggestedFilename(), /\.conf$/);
  const sample = readFileSync(await download.path(), 'utf8');
  assert.match(sample, /^-i=/m);
  const file = join(site.folder, 'weir-probe.conf');
  writeFileSync(file, sample.replace(/^-i=.*$/m, '-i=lo'));
  probe = site.startProbe(file, 'first-probe');

  const waiting = page.locator('[data-test=waiting]');
  await waiting.getByText('A probe is connected').waitFor();
  await waiting.getByText('first-probe').waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded), 'it turned green by itself');
  await shot('interface-connected');
});

step('the counters of the interface go up', async () => {
  const flows = () => page.locator('[data-test=flows] span').getAttribute('title').then((t) => parseInt(t.replaceAll(',', ''), 10));
  await until('flows arrive', async () => (await flows()) > 0);
  const before = await flows();
  await until('more flows arrive', async () => (await flows()) > before);
});

step('the overview shows its traffic and moves by itself', async () => {
  await page.getByRole('link', { name: 'See the traffic in the overview' }).click();
  await page.getByText('Traffic by application, bits per second').waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded));
  await until('the rate is not zero', async () => !(await text('[data-test=rate]')).startsWith('0'));
  const exactRate = () => page.locator('[data-test=rate]').getAttribute('title');
  const first = await exactRate();
  await until('the rate changes without a reload', async () => (await exactRate()) !== first);
  await page.locator('[data-test=probes]', { hasText: '1 of 1' }).waitFor();
  await page.locator('table', { hasText: 'p95' }).getByText('HTTP').first().waitFor();
  // What is short-lived is named too: half of all octets at least are those of the pages asked for.
  await until('live traffic is named', async () => {
    const { ticks } = await page.evaluate(async () => (await fetch('/api/v1/live')).json());
    const of = (name) => ticks.reduce((sum, tick) => sum + (tick.apps.find((app) => app.name === name)?.octets ?? 0), 0);
    return of('HTTP') > 200_000 && of('HTTP') > of('Unknown');
  });
  await page.locator('section', { hasText: 'Busiest hosts' }).getByText('127.0.0.1').first().waitFor();
  await page.locator('section', { hasText: 'Probes' }).getByText('first-probe').first().waitFor();
  await until('flows are listed', async () => (await rows().count()) > 3);
  const painted = () => page.evaluate(() => {
    const canvas = document.querySelector('.chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 250) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  });
  await until('the chart is painted', async () => (await painted()) > 3);
});

step('paused, nothing moves, and the page says how far behind it is', async () => {
  await page.getByTitle('Pause (p)').click();
  const first = await text('[data-test=rate]');
  const behind = page.getByText(/Paused, \d+ s behind/).first();
  await until('it says how far', async () => parseInt((await behind.innerText()).match(/\d+/)[0], 10) >= 2);
  assert.equal(await text('[data-test=rate]'), first);
  assert.match(page.url(), /live=0/);
  await page.keyboard.press('p');
  await page.locator('.live', { hasText: 'Live' }).waitFor();
});

step('the flows page lists, filters, sorts and explains', async () => {
  await page.getByRole('link', { name: 'Flows', exact: true }).click();
  await page.getByRole('heading', { name: 'Flows' }).waitFor();
  await until('stored flows are listed', async () => (await rows().count()) > 5);

  const toTraffic = rows().filter({ has: page.locator('td.dst', { hasText: `:${port}` }) });
  const named = toTraffic.filter({ has: page.locator('td.app', { hasText: /^\s*HTTP$/ }) }).first();
  await named.locator('td.app a').click();
  await page.locator('.token', { hasText: 'app = "HTTP"' }).waitFor();
  await until('only HTTP is left', async () => {
    const apps = await page.locator('td.app a').allInnerTexts();
    return apps.length > 0 && apps.every((app) => app === 'HTTP');
  });
  await toTraffic.getByText('pages.weir.example').first().waitFor();

  await named.locator('td.dst .port a').click();
  await page.locator('.token', { hasText: `dst_port = ${port}` }).waitFor();
  await page.getByLabel('Remove app = "HTTP"').click();
  await until('one token is left', async () => (await page.locator('.token').count()) === 1);

  await page.getByRole('button', { name: 'Sent' }).click();
  await until('largest first', async () => {
    const sent = await page.locator('td.sent').evaluateAll((cells) => cells.map((cell) => parseInt(cell.title.replaceAll(',', ''), 10)));
    return sent.length > 1 && sent.every((value, i) => i === 0 || sent[i - 1] >= value);
  });
  assert.match(page.url(), /sort=octets/);

  await rows().first().locator('td.lasted').click();
  const drawer = page.getByRole('dialog', { name: 'Flow' });
  await drawer.getByText('Initiator → responder').waitFor();
  await drawer.getByText('Responder → initiator').waitFor();
  await drawer.getByText(/All \d+ fields as stored/).click();
  await drawer.getByText('Address of the initiator, the side that opened the flow.').waitFor();
  await shot('flow-detail');
  await page.keyboard.press('Escape');
  await drawer.waitFor({ state: 'detached' });
});

step('what the page shows is what the hub stored', async () => {
  const found = parseInt((await text('[data-test=found]')).replaceAll(',', ''), 10);
  const answer = await page.evaluate(async (filter) => (await fetch(`/api/v1/flows?limit=1000&filter=${encodeURIComponent(filter)}&from=${Date.now() - 3_600_000}`)).json(), `dst_port = ${port}`);
  assert.ok(found > 0 && answer.total >= found, `${answer.total} stored, ${found} shown`);
  const some = answer.flows.slice(0, 50);
  for (const flow of some) {
    assert.equal(flow.dst_ip, '127.0.0.1');
    assert.equal(flow.protocol, 6);
  }
  // not of each: the kernel drops packets when the machine is too busy to read them
  const whole = some.filter((flow) => flow.rev_octets > 20_000).length;
  assert.ok(whole > some.length / 2, `the page came back: ${whole} of ${some.length}`);
});

step('Alt-click leaves out, and a wrong filter is explained', async () => {
  await page.goto(`${site.url}/flows`);
  await until('flows are listed', async () => (await rows().count()) > 5);
  await page.locator('td.app a').getByText('HTTP', { exact: true }).first().click({ modifiers: ['Alt'] });
  await page.locator('.token.not', { hasText: 'app != "HTTP"' }).waitFor();
  await until('no HTTP is left', async () => !(await page.locator('td.app a').allInnerTexts()).includes('HTTP'));
  await page.goBack();
  await until('back has it again', async () => (await page.locator('td.app a').allInnerTexts()).includes('HTTP'));

  await page.keyboard.press('/');
  await page.getByRole('textbox', { name: 'Filter' }).fill('colour = 3');
  await page.keyboard.press('Enter');
  await page.locator('.problem').waitFor();
  assert.match(await text('.problem'), /colour/);
  await shot('filter-problem');
  await page.getByLabel('Remove colour = 3').click();
  await page.locator('.problem').waitFor({ state: 'detached' });
});

step('flows by pages, and between two moments', async () => {
  await page.goto(`${site.url}/flows?range=15m`);
  const next = page.getByRole('button', { name: 'Next' });
  await until('there are two pages full', async () => parseInt((await text('[data-test=found]')).replaceAll(',', ''), 10) >= 200);
  const keys = () => rows().evaluateAll((list) => list.map((row) => row.innerText));
  await next.click();
  await page.getByText(/^101–200 of/).waitFor();
  assert.match(page.url(), /offset=100/);
  assert.equal(await rows().count(), 100);
  const second = await keys();
  await page.getByRole('button', { name: 'Before' }).click();
  await page.getByText(/^1–100 of/).waitFor();
  assert.notDeepEqual(await keys(), second);

  await page.getByRole('button', { name: 'Last 15 minutes' }).click();
  // Of a range that does not move the page asks once: five seconds of which there are flows in store.
  const to = new Date(await until('flows of five seconds are stored', async () => {
    const to = Math.floor(Date.now() / 1000) * 1000 - 12_000;
    const { total } = await page.evaluate(async (range) => (await fetch(`/api/v1/flows?${range}`)).json(), `from=${to - 5000}&to=${to}`);
    return total > 10 && to;
  }));
  // as the browser writes it, which is without seconds when there are none; another text would be refused
  const field = (at) => new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace(/^(.{16}):00$/, '$1');
  await page.getByLabel('From', { exact: true }).fill(field(new Date(to.getTime() - 5000)));
  await page.getByLabel('To', { exact: true }).fill(field(to));
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  await until('the address holds both moments', () => page.url().includes(`from=${to.getTime() - 5000}&to=${to.getTime()}`));
  await page.getByText('Fixed range').waitFor();
  await until('flows of these five seconds are listed, and no others', async () => {
    const times = await page.locator('table.flows td:first-child').evaluateAll((cells) => cells.map((cell) => Date.parse(cell.title.replace(' ', 'T'))));
    return times.length > 10 && times.every((time) => time >= to.getTime() - 5000 && time < to.getTime());
  });
  await page.getByTitle('Go on live (p)').click();
  await until('live again', () => !page.url().includes('from='));
});

step('the overview obeys filter and range, from stored flows', async () => {
  await page.goto(`${site.url}/?range=15m&filter=${encodeURIComponent(`dst_port = ${port}`)}`);
  await page.getByText('from stored flows').waitFor();
  await page.locator('table', { hasText: 'p95' }).getByText('HTTP').first().waitFor();
  await dragUntilZoomed('a drag zooms in');
  const range = () => new URL(page.url()).searchParams;
  const length = () => Number(range().get('to')) - Number(range().get('from'));
  const zoomed = length();
  assert.ok(zoomed > 60_000 && zoomed < 300_000, `${zoomed} ms`);
  assert.equal(range().get('filter'), `dst_port = ${port}`);
  await page.goBack();
  await page.getByText('last 15 minutes').first().waitFor();

  await page.goto(`${site.url}/`);
  await page.getByText('as probes report it').waitFor();
  await page.locator('.chart .u-over').waitFor();
  await dragUntilZoomed('the live chart is zoomed too');
  await until('a double click zooms out', async () => {
    await page.locator('.chart .u-over').dblclick();
    await page.waitForURL(() => length() > 80_000, { timeout: 5000, waitUntil: 'commit' });
    return true;
  });
});

step('keys', async () => {
  await page.goto(`${site.url}/`);
  await page.getByText('Busiest hosts').waitFor();
  for (const [keys, path] of [['gf', '/flows'], ['gp', '/probes'], ['gi', '/interfaces'], ['go', '/']]) {
    // two keys with more than 1.5 s between them are no pair
    await until(`${keys} goes to ${path}`, async () => {
      for (const key of keys) await page.keyboard.press(key);
      await page.waitForURL((url) => url.pathname === path, { timeout: 2000, waitUntil: 'commit' });
      return true;
    });
  }
  await page.keyboard.press('[');
  await until('[ goes back in time', () => page.url().includes('from='));
  await page.keyboard.press(']');
  await until('] comes back', () => !page.url().includes('from='));
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Help' }).waitFor();
  await shot('help');
  await page.keyboard.press('Escape');
  await page.getByRole('heading', { name: 'Help' }).waitFor({ state: 'detached' });
});

step('light and dark, large and small: readable, and nothing hangs over', async () => {
  const state = await page.context().storageState();
  const id = await page.evaluate(async () => (await (await fetch('/api/v1/interfaces')).json())[0].id);
  const pages = { overview: '/', hour: '/?range=1h', flows: '/flows', interfaces: '/interfaces', interface: `/interfaces/${id}`, probes: '/probes' };
  for (const colorScheme of ['light', 'dark'])
    for (const [size, viewport] of Object.entries({ large: { width: 1400, height: 900 }, phone: { width: 390, height: 844 } })) {
      const look = await newPage(page.context().browser(), site, { storageState: state, colorScheme, viewport, hasTouch: size === 'phone' });
      for (const [name, path] of Object.entries(pages)) {
        await look.goto(site.url + path);
        await look.locator('main table').first().waitFor();
        await look.waitForTimeout(1200);
        await look.screenshot({ path: join(output, `${name}-${colorScheme}-${size}.png`) });
        const over = await look.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `${name}, ${colorScheme}, ${size}: ${over} px too wide`);
        assert.deepEqual(await look.evaluate(faintText), [], `${name}, ${colorScheme}, ${size}`);
      }
      assert.deepEqual(look.wrong, []);
      assert.deepEqual(look.elsewhere, []);
      await look.context().close();
    }
});

step('the theme can be chosen and is kept', async () => {
  await page.emulateMedia({ colorScheme: 'light' });
  await page.getByTitle(/^Theme: system/).click();
  await page.getByTitle(/^Theme: light/).click();
  await page.getByTitle(/^Theme: dark/).waitFor();
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.reload();
  await page.getByTitle(/^Theme: dark/).waitFor();
  assert.equal(await ground(), dark);
  await page.getByTitle(/^Theme: dark/).click();
  await until('light again', async () => (await ground()) !== dark);
});

step('a probe that goes is said to be gone, without a reload', async () => {
  await page.goto(`${site.url}/probes`);
  await page.getByText('1 connected of 1 known probe').waitFor();
  await page.evaluate(() => (window.notReloaded = true));
  await page.getByRole('button', { name: 'first-probe' }).click();
  await page.getByLabel('Where its packets and flows went').waitFor();
  await page.getByText('adds up', { exact: true }).waitFor();
  await until('the ledger', async () => /Flows since [^]*metered [\d,]+ = [\d,]+ stored/.test(await text('[data-test=ledger]')));
  await until('the spool', async () => /(nothing waits|flows? waits?), .*B of .*B/.test(await text('[data-test=spool]')));
  assert.deepEqual(await page.evaluate(faintText), []);
  await shot('probe');
  const ended = await probe.stop();
  assert.equal(ended.code, 0, probe.said);
  await page.getByText('0 connected of 1 known probe').waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded));
});

step('a hub that is away is said to be away, and found again', async () => {
  await page.goto(`${site.url}/`);
  await page.getByTitle('Pause (p)').waitFor();
  await page.evaluate(() => (window.notReloaded = true));
  await site.hub.stop();
  assert.equal(site.hub.ended.code, 0, site.hub.said);
  await page.getByText(/The hub does not answer since \d+ s\. Trying again\./).waitFor();
  await shot('hub-away');
  await site.startHub();
  await page.getByText(/The hub does not answer/).waitFor({ state: 'detached' });
  await page.locator('.live', { hasText: 'Live' }).waitFor();
  assert.ok(await page.evaluate(() => window.notReloaded), 'still signed in, still the same page');
});

step('no script error, nothing refused by policy, nothing asked of another host', () => {
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('first use', steps, site, () => page);
