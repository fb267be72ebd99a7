// SPDX-License-Identifier: Apache-2.0
// The real programs and a real browser, each test with its own: ports that nobody uses, folders
// that go away, processes that end with the test.

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const source = resolve(new URL('../..', import.meta.url).pathname);
const build = process.env.WEIR_BUILD ?? join(source, 'build');
const { chromium } = createRequire(join(source, 'web/package.json'))('playwright-core');

export const output = join(source, 'test-output', 'browser');
mkdirSync(output, { recursive: true });

export const program = (name) => join(build, name);

export async function until(what, found, limitMs = 15_000) {
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

export async function freePorts(n) {
  const servers = await Promise.all(
    Array.from({ length: n }, () => new Promise((done) => {
      const server = net.createServer().listen(0, '127.0.0.1', () => done(server));
    })),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
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

  async stop(limitMs = 15_000) {
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

export class Site {
  folder = mkdtempSync(join(tmpdir(), 'weir-browser-'));
  running = [];
  servers = [];

  async startHub(more = []) {
    this.ports ??= await freePorts(3);
    const [data, events, web] = this.ports;
    const args = ['-i', `tcp://127.0.0.1:${data}c`, '--zmq-publish-events', `tcp://127.0.0.1:${events}`,
      '-w', `127.0.0.1:${web}`, '-d', this.hubFolder, '--web-dir', join(source, 'web/dist'), ...more];
    this.url = `http://127.0.0.1:${web}`;
    this.hub = this.run('weir-hub', args);
    await until('the hub answers', async () => {
      if (this.hub.ended) throw new Error(`weir-hub ended: ${JSON.stringify(this.hub.ended)}\n${this.hub.said}`);
      return (await fetch(`${this.url}/api/v1/health`)).ok;
    }, 30_000);
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
    for (const one of this.running.reverse()) await one.stop(40_000).catch((cause) => (bad ??= cause));
    rmSync(this.folder, { recursive: true, force: true });
    if (bad) throw bad;
  }

  log() {
    return this.running.map((one) => `--- ${one.name} (${JSON.stringify(one.ended)})\n${one.said}`).join('\n');
  }
}

export async function startBrowser() {
  return await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

/** A page that keeps what went wrong on it, and what it asked of anybody but the hub. */
export async function newPage(browser, site, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, reducedMotion: 'reduce', baseURL: site.url, ...options });
  const page = await context.newPage();
  page.wrong = [];
  page.elsewhere = [];
  page.on('pageerror', (cause) => page.wrong.push(String(cause)));
  page.on('console', (message) => {
    // a refused login and a stopped hub are part of the tests, and the browser notes each answer
    const expected = /status of (401|400|403|409|429)|ERR_CONNECTION_|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE/.test(message.text());
    if (message.type() === 'error' && !expected) page.wrong.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(site.url) && !request.url().startsWith('data:')) page.elsewhere.push(request.url());
  });
  page.setDefaultTimeout(15_000);
  return page;
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
    if (!text || !element.checkVisibility() || element.closest('.visually-hidden, noscript, :disabled')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(parse(style.color)), luminance(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  return [...new Set(faint)];
}
