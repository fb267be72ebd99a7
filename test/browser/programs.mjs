// SPDX-License-Identifier: Apache-2.0
// The real programs and a real browser, each test with its own: ports that nobody uses, folders
// that go away, processes that end with the test.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';

const source = resolve(new URL('../..', import.meta.url).pathname);
const build = process.env.WEIR_BUILD ?? join(source, 'build');
const { chromium } = createRequire(join(source, 'web/package.json'))('playwright-core');

export const output = join(source, 'test-output', 'browser');
mkdirSync(output, { recursive: true });

export const program = (name) => join(build, name);

/** How long something may take that only has to happen: machines that run tests are busy ones. */
export const patienceMs = 60_000;

export async function until(what, found, limitMs = patienceMs) {
  const end = Date.now() + limitMs;
  let last;
  for (;;) {
    try {
      const value = await found();
      if (value) return value;
      last = undefined;
    } catch (cause) {
      last = cause;
    }
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`, { cause: last });
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Whether nobody listens on it, nor on the one after it. */
async function isFree(port) {
  for (const each of [port, port + 1]) {
    const server = net.createServer();
    const listens = await new Promise((done) => {
      server.once('error', () => done(false)).listen(each, '127.0.0.1', () => done(true));
    });
    if (!listens) return false;
    await new Promise((done) => server.close(done));
  }
  return true;
}

/**
 * Ports to listen on, each with a free one after it, below those the system gives to connections: a
 * program that is started again must find its port, and no connection of the traffic may have it.
 */
export async function freePorts(n) {
  const ports = [];
  while (ports.length < n) {
    const port = 12_000 + 2 * Math.floor(Math.random() * 10_000);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/** A program under test; what it says is kept, and shown when something goes wrong. */
export class Running {
  said = '';
  ended = null;

  constructor(name, args, env = {}) {
    this.name = name;
    this.child = spawn(program(name), args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream.on('data', (data) => (this.said = (this.said + data).slice(-20_000)));
    this.child.on('exit', (code, signal) => (this.ended = { code, signal }));
    this.child.on('error', (cause) => (this.ended = { code: String(cause) }));
  }

  async stop(limitMs = patienceMs) {
    if (!this.ended) this.child.kill('SIGTERM');
    try {
      await until(`${this.name} ends on SIGTERM`, () => this.ended, limitMs);
    } catch (cause) {
      this.child.kill('SIGKILL');
      throw cause;
    }
    // 3: a file's flows were left; a sanitizer that found something has another code
    if (![0, 3].includes(this.ended.code) || /ERROR: \w+Sanitizer|runtime error:/.test(this.said))
      throw new Error(`${this.name} ended with ${JSON.stringify(this.ended)}:\n${this.said.slice(-4000)}`);
    return this.ended;
  }
}

/** The key that the default build trusts, as options of weir-license. */
export function evaluationKey(site) {
  const words = join(site.folder, 'evaluation.words');
  writeFileSync(words, 'evaluation\n');
  return ['--key', join(source, 'licences/evaluation.key'), '--passphrase-file', words];
}

/* probes give up being root */
function reachable(folder) {
  chmodSync(folder, 0o755);
  return folder;
}

export class Site {
  /** a file; '': none, the hub is in evaluation; left out: one for many probes */
  licence = null;
  folder = reachable(mkdtempSync(join(tmpdir(), 'weir-browser-')));
  running = [];
  servers = [];

  async givePorts() {
    return (this.ports ??= await freePorts(3));
  }

  #issue() {
    const file = join(this.folder, 'test.license');
    execFileSync(program('weir-license'), ['issue', ...evaluationKey(this), '--kind', 'cloud', '--customer', 'The tests',
      '--probes', '10000', '--expires', '365d', '-o', file]);
    return file;
  }

  async startHub(more = []) {
    const [data, events, web] = await this.givePorts();
    this.licence ??= this.#issue();
    const args = ['-i', `tcp://127.0.0.1:${data}c`, '--zmq-publish-events', `tcp://127.0.0.1:${events}`,
      '-w', `127.0.0.1:${web}`, '-d', this.hubFolder, '--web-dir', join(source, 'web/dist'),
      '--license', this.licence || join(this.folder, 'none.license'), ...more];
    this.url = `http://127.0.0.1:${web}`;
    this.hub = this.run('weir-hub', args);
    await until('the hub answers', async () => this.hub.ended || (await fetch(`${this.url}/api/v1/health`)).ok);
    if (this.hub.ended) throw new Error(`weir-hub ended: ${JSON.stringify(this.hub.ended)}\n${this.hub.said}`);
    return this.hub;
  }

  get hubFolder() {
    return join(this.folder, 'hub');
  }

  setupLink() {
    const file = join(this.hubFolder, 'setup-link');
    return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  }

  publicKey() {
    return execFileSync(program('weir-hub'), ['--print-public-key', '-d', this.hubFolder], { encoding: 'utf8' }).trim();
  }

  run(name, args, env) {
    const running = new Running(name, args, env);
    this.running.push(running);
    return running;
  }

  /** weir-probe FILE, as on a machine of its own: state folder and name come from outside. */
  startProbe(file, name, more = {}) {
    return this.run('weir-probe', [file], {
      WEIR_PROBE_DATA_DIR: join(this.folder, `probe-${name}`),
      WEIR_PROBE_PROBE_NAME: name,
      ...more,
    });
  }

  /**
   * Steady traffic on loopback: a page of 20 kB every 100 ms, each on a connection of its own, so
   * that flows end all the time.
   */
  async startTraffic() {
    const page = 'weir '.repeat(4000);
    const server = http.createServer((_, response) => response.end(page));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const ask = () => {
      const agent = new http.Agent({ keepAlive: false });
      http
        .get({ host: '127.0.0.1', port: server.address().port, agent, headers: { Host: 'pages.weir.example' } }, (r) => r.resume())
        .on('error', () => {});
    };
    const timer = setInterval(ask, 100);
    this.servers.push(() => {
      clearInterval(timer);
      server.close();
    });
    return server.address().port;
  }

  async end() {
    for (const stop of this.servers) stop();
    // the newest first: a probe takes leave of the hub
    let bad;
    for (const one of this.running.reverse()) await one.stop().catch((cause) => (bad ??= cause));
    rmSync(this.folder, { recursive: true, force: true });
    if (bad) throw bad;
  }

  log() {
    return this.running.map((one) => `--- ${one.name} (${JSON.stringify(one.ended)})\n${one.said}`).join('\n');
  }
}

const browsers = [];

export async function startBrowser() {
  const browser = await chromium.launch({
    timeout: 2 * patienceMs,
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  browsers.push(browser);
  return browser;
}

/** A page that keeps what went wrong on it, and what it asked of anybody but the hub. */
export async function newPage(browser, site, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: 'reduce', baseURL: site.url, ...options });
  const page = await context.newPage();
  page.wrong = [];
  page.elsewhere = [];
  page.on('pageerror', (cause) => page.wrong.push(String(cause)));
  page.on('console', (message) => {
    // a refused login and a hub that stops and starts are part of the tests; the browser notes each answer
    const expected = /status of (400|401|403|409|422|429|503)|ERR_CONNECTION_|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE/.test(message.text());
    if (message.type() === 'error' && !expected) page.wrong.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(site.url) && !request.url().startsWith('data:')) page.elsewhere.push(request.url());
  });
  page.setDefaultTimeout(patienceMs);
  return page;
}

/** The one-time link of a new hub used, as the first person does. */
export async function becomeAdministrator(page, site) {
  const password = 'a good long password';
  await page.goto(site.setupLink());
  await page.getByLabel('Name').fill('ada');
  await page.getByLabel('Password, at least').fill(password);
  await page.getByLabel('Password again').fill(password);
  await page.getByRole('button', { name: 'Make the administrator' }).click();
  await page.getByText('No probe has connected yet').waitFor();
}

/** The address in the dark and on a phone: a picture of each, no faint text, nothing hangs over. */
export async function otherLooks(page, site, picture, path, ready) {
  for (const [name, options] of [['dark', { colorScheme: 'dark' }], ['phone', { viewport: { width: 390, height: 844 } }]]) {
    const other = await newPage(page.context().browser(), site, { storageState: await page.context().storageState(), ...options });
    await other.goto(site.url + path);
    await ready(other);
    await other.screenshot({ path: join(output, `${picture}-${name}.png`), fullPage: true });
    assert.deepEqual(await other.evaluate(faintText), [], name);
    assert.ok(await other.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: no sideways scrolling`);
    assert.deepEqual(other.wrong, []);
    await other.context().close();
  }
}

/** What went wrong, and why, in one line. */
function oneLine(cause) {
  const parts = [];
  for (let at = cause; at instanceof Error; at = at.cause) parts.push(at.message);
  return stripVTControlCharacters(parts.join('; ') || String(cause)).replace(/\s+/g, ' ').slice(0, 600);
}

/**
 * The steps [name, body] of a story, in order. The first that fails ends it, with a picture of the
 * page and what the programs said; the last line of all names it, for who sees only the end.
 */
export function runSteps(title, steps, site, page) {
  test(title, async (t) => {
    let failed = null;
    const attempt = async (name, body) => {
      try {
        await body();
      } catch (cause) {
        failed ??= { name, cause };
        throw cause;
      }
    };
    for (const [name, body] of steps) {
      await t.test(name, () => attempt(name, body));
      if (failed) break;
    }
    if (failed) {
      await page()?.screenshot({ path: join(output, `failed-${title.replaceAll(' ', '-')}.png`), fullPage: true, timeout: 10_000 }).catch(() => {});
      console.log(`at ${page()?.url()}\n${site.log()}`);
    }
    process.on('exit', () => failed && console.log(`FAIL ${title}, "${failed.name}": ${oneLine(failed.cause)}`));
    await t.test('all is ended', () => attempt('all is ended', async () => {
      for (const browser of browsers) await browser.close();
      await site.end();
    }));
  });
}

/** Text that is too faint against what is behind it (WCAG 2.1, AA), as "ratio: text". */
export function faintText() {
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => {
    const part = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    // an arrow between two numbers is there for those who see it
    if (!/[\p{L}\p{N}]/u.test(text) || !element.checkVisibility() || element.closest('.visually-hidden, noscript, :disabled')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(parse(style.color)), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return [...new Set(faint)];
}
