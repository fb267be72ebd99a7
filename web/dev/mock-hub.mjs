// SPDX-License-Identifier: Apache-2.0
// Not a hub: made-up answers, to work on the pages with `npm run dev` where no hub runs. No test
// uses it. MOCK=empty: no probe; MOCK=problem: a peer with a wrong key. PORT: 3000. LICENCE=evaluation, soon,
// grace, kept, expired, hub.
// With a build in dist/, serves that too, under the policy that the hub sets.
import { createServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

const mode = process.env.MOCK ?? '';
const port = Number(process.env.PORT ?? 3000);
const started = Date.now();
const dist = new URL('../dist/', import.meta.url).pathname;

let seed = 7;
const random = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32);
const pick = (list) => list[Math.floor(random() * list.length)];
const apps = [['TLS', 9e6, 443, 6], ['QUIC', 5e6, 443, 17], ['HTTP', 8e5, 80, 6], ['DNS', 6e4, 53, 17], ['SSH', 3e5, 22, 6], ['NTP', 900, 123, 17],
  ['TLS.YouTube', 4e6, 443, 6], ['TLS.GitHub', 1e6, 443, 6], ['MDNS', 2e3, 5353, 17], ['ICMP', 4e3, 0, 1], ['SMBv23', 2e6, 445, 6], ['RTP', 1e6, 4000, 17], ['Unknown', 1e5, 9999, 6]];
const hosts = Array.from({ length: 14 }, (_, i) => (i % 5 === 4 ? `2001:db8:12:7::${(i * 977).toString(16)}` : `192.168.2.${10 + i * 7}`));
const servers = ['93.184.216.34', '140.82.121.4', '142.250.74.110', '1.1.1.1', '2606:4700::6810:84e5', '151.101.1.69'];
const names = ['example.org', 'github.com', 'i.ytimg.com', 'one.one.one.one', 'registry.example.net', 'a-rather-long-name-of-a-content-network.cdn.example.com'];

let n = 0;
function flow(at) {
  const [app_name, rate, dst_port, protocol] = pick(apps);
  const octets = Math.round(200 + random() ** 4 * rate * 0.4);
  const rev = Math.round(octets * random() * 12);
  const lasted = Math.round(random() ** 3 * 58_000);
  return { first_ms: at - lasted, last_ms: at, src_ip: pick(hosts), dst_ip: pick(servers), src_port: dst_port ? 32768 + Math.floor(random() * 28000) : 0,
    dst_port, protocol, octets, packets: Math.ceil(octets / 700), rev_octets: rev, rev_packets: Math.ceil(rev / 1100),
    ...(protocol === 6 ? { tcp_flags: 0x1b, rev_tcp_flags: 0x1b } : {}), ...(app_name !== 'Unknown' ? { app_name, app_category: 'Web' } : {}),
    ...(dst_port === 443 || dst_port === 53 ? { server_name: pick(names) } : {}), end_reason: protocol === 6 ? 3 : 1, flow_id: ++n, probe: 1, interface: 0,
    src_mac: '02:00:00:00:00:01', dst_mac: '02:00:00:00:00:02', biflow_direction: 1, received_ms: at + 400 };
}
function tick(at) {
  const s = at / 1000;
  const list = apps.map(([name, rate], i) => ({ name, octets: Math.round((rate / 8) * Math.max(0.05, 0.7 + 0.5 * Math.sin(s / (9 + i * 3) + i) + (random() - 0.5) * 0.5)) }));
  const octets = list.reduce((a, b) => a + b.octets, 0);
  return { time_ms: at, packets: Math.round(octets / 800), octets, drops: 0, flows_active: 300 + Math.round(60 * Math.sin(s / 30)), flows: 12, probes_connected: 2,
    apps: list.map((a) => ({ ...a, packets: Math.round(a.octets / 800) })).sort((a, b) => b.octets - a.octets).slice(0, 12),
    hosts: hosts.map((ip, i) => ({ ip, octets_in: Math.round((octets * (1 + Math.sin(s / 7 + i))) / (10 + i * 3)), octets_out: Math.round(octets / (60 + i * 20)) })).slice(0, 12), conversations: [] };
}
const ticks = [];
let flows = [];
const second = () => Math.floor(Date.now() / 1000) * 1000;
if (mode === '') {
  for (let t = second() - 300_000; t < second(); t += 1000) if ((t / 1000) % 97 > 4) ticks.push(tick(t));
  for (let i = 0; i < 4000; i++) flows.push(flow(Date.now() - i * 900));
}
const probe = (id, name, connected) => ({ id, name, key: `${id}ne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID`, interface: 0, address: `192.168.2.${id + 3}`, version: '0.1.0', connected,
  state: connected ? 'capturing' : 'away', state_text: connected ? `capturing on eno${id}, ${8 + id * 4} ms behind` : 'not connected since 3 minutes', first_seen_ms: started - 8e7, last_seen_ms: connected ? Date.now() : started - 18e4,
  captures: [`eno${id}`], packets: 8_213_004 + ((Date.now() - started) >> 2), octets: 6.2e9, drops: id === 2 ? 31 : 0, flows_active: 311, flows_received: 401_277, flows_stored: 401_277,
  flows_missing: id === 3 ? 120 : 0, flows_waiting: 0, packets_per_s: 2900, bits_per_s: 2.1e7 / id, clock_offset_ms: 12,
  spool: { disk: id === 2 ? 'disk full' : 'good', hubs: 1, flows: id === 1 ? 0 : 3120, batches: id === 1 ? 0 : 9, bytes: 410_000, limit_bytes: 8e9, oldest_ms: id === 1 ? 0 : 41_000, hours_left: 310, flows_dropped: id === 3 ? 120 : 0, batches_torn: 0 },
  ledger: { state: id === 2 ? 'differs' : connected ? 'balanced' : 'unknown', since_ms: started, waited: 0, metered: 401_277, export_dropped: 0, entering: 0, stored: 401_270, missing: 0, undecodable: 0, unannounced: 0, waiting: id === 2 ? 3 : 7, unexplained: id === 2 ? 4 : 0 },
  configuration: { version: id, state: id === 2 ? 'refused' : 'confirmed', state_text: id === 2 ? "version 2 is refused, what was before goes on: the filter 'tcp porl 80' is not valid" : `version ${id} is in force` },
  admission: 'admitted', reason: '', via: 'open', enrolled_ms: started - 8e7, token: 0, given_name: '', probe_id: name, site: 'default', tenant: 'default', namesake: '', namesake_seen_ms: 0, seat: connected ? 'held' : 'none', pinned: id === 1 });
const probes = () => (mode === '' ? [probe(1, 'berlin-core', true), probe(2, 'munich-edge', true), probe(3, 'lab-7', false)] : []);
const iface = () => ({ id: 0, name: 'tcp://127.0.0.1:5556', endpoint: 'tcp://127.0.0.1:5556c', events_endpoint: 'tcp://127.0.0.1:5557', mode: 'bind',
  state: mode === '' ? 'receiving' : mode === 'problem' ? 'problem' : 'waiting', state_text: mode === '' ? '2 probes connected, last flow now' : mode === 'problem' ? 'A peer at 203.0.113.7 uses a wrong key' : 'No probe has connected yet',
  probes_connected: probes().filter((p) => p.connected).length, flows: mode ? 0 : 401_277, packets: mode ? 0 : 8_213_004, octets: mode ? 0 : 6.2e9, batches: mode ? 0 : 4012, batches_discarded: 0,
  last_flow_ms: mode ? 0 : Date.now() - 300, flows_per_s: mode ? 0 : 12.4, bits_per_s: mode ? 0 : 2.4e7 });

const day = 864e5;
function licence() {
  const which = process.env.LICENCE ?? 'cloud';
  const now = Date.now();
  const ends = now + { soon: 13.4, grace: -3, expired: -40 }[which] * day || now + 300 * day;
  const seat = (name, more) => ({ key: name, name, site: 'north', enrolled_ms: started - 9e6, since_ms: started - 8e6, pinned: name === 'berlin-core', ...more });
  const has = which !== 'evaluation';
  const limit = has && !['hub', 'expired'].includes(which) ? 3 : 2;
  const held = [seat('berlin-core', { connected: true, gone_ms: null, kept_until_ms: null }), seat('munich-edge', { connected: false, gone_ms: now - 12e4, kept_until_ms: now + 48e4 }), seat('lab-7', { connected: true, gone_ms: null, kept_until_ms: null })];
  const reason = (ahead) => `all ${limit} seats of the licence are taken by earlier or pinned probes (${ahead} before you)`;
  return { mode: limit === 3 ? 'cloud' : which === 'hub' ? 'hub' : 'evaluation', state: has ? { grace: 'grace', expired: 'expired' }[which] ?? 'valid' : 'none', kept: which === 'kept', kept_until_ms: which === 'kept' ? now + 7e7 : null,
    why: { evaluation: 'no licence is installed', grace: 'it expired three days ago; everything works until the end of its grace, 27 more days', expired: 'it expired 40 days ago; ask for a new one' }[which] ?? 'valid until next year',
    trouble: which === 'kept' ? '/etc/weir/hub.license: there is no such file; the one verified last stays in force until tomorrow' : '', warning: which === 'soon' ? 'the licence ends in 14 days' : '', days_left: which === 'soon' ? 14 : null, now_ms: now, revocations: 2,
    licence: has ? { id: '4f0c2f9d1a7b33e0', key_id: 'evaluation', kind: which === 'hub' ? 'hub' : 'cloud', customer: 'Norddeutsche Netze', probes: which === 'hub' ? 0 : 3, not_before_ms: now - 65 * day, expires_ms: ends, grace_days: 30, grace_ends_ms: ends + 30 * day,
      system_id: which === 'hub' ? 'weir1-q2w3e4r5-asdfghjk-0-zxcvbnm2-7k2p' : null, from: '/etc/weir/hub.license' } : null,
    system_id: { text: 'weir1-q2w3e4r5-0-0-0-7k2p', facts: 1, enough: false, advice: 'this machine shows too little of itself to be known by (in a container that is usual): use a cloud licence' },
    seats: { limit, used: limit, held: held.slice(0, limit), waiting: [seat('a-probe-that-came-late', { reason: reason(0), ahead: 0 }), seat('and-one-more', { reason: reason(1), ahead: 1 })], own: [{ key: 'o', name: 'paid-for', site: 'south', licence_id: '77aa', customer: 'Shop & Söhne' }] } };
}

const subscribers = new Set();
setInterval(() => {
  if (mode !== '') return;
  const t = tick(second() - 1000);
  ticks.push(t);
  if (ticks.length > 300) ticks.shift();
  const fresh = Array.from({ length: 3 }, () => flow(Date.now() - Math.round(random() * 900)));
  flows = [...fresh, ...flows].slice(0, 20_000);
  for (const to of subscribers) to.write(`event: tick\ndata: ${JSON.stringify(t)}\n\nevent: flows\ndata: ${JSON.stringify(fresh)}\n\n`);
}, 1000);

const between = (q) => {
  const to = Number(q.get('to') ?? Date.now());
  const from = Number(q.get('from') ?? to - 36e5);
  const hit = /app = "(\w+)"/.exec(q.get('filter') ?? '')?.[1];
  return { from, to, list: flows.filter((f) => f.last_ms >= from && f.last_ms < to && (!hit || f.app_name === hit)) };
};
const session = { user: 'admin', role: 'admin', csrf_token: 'x', expires_ms: Date.now() + 1e8, login_disabled: false };
const refuse = (status, code, message, field) => ({ status, body: { error: { code, message, ...(field ? { field } : {}) } } });
let signedIn = false;

function api(method, path, q, body) {
  if (path === '/setup' && method === 'GET') return { needed: false };
  if (path === '/health') return { ok: true, version: '0.1.0' };
  if (path === '/login') {
    if (body.password !== 'weir') return refuse(401, 'wrong', 'Name or password is wrong. (This is the mock: the password is weir.)');
    signedIn = true;
    return session;
  }
  if (!signedIn && !process.env.MOCK_OPEN) return refuse(401, 'session', 'Sign in first.');
  if (path === '/session') return session;
  if (path === '/logout') return (signedIn = false), { closed: true };
  if (path === '/live') return { now_ms: Date.now(), ticks, flows: flows.slice(0, 50), probes: probes() };
  if (path === '/probes') return probes();
  if (path === '/server-key') return { state: 'single', version: 0, public_key: '6a'.repeat(40), next_public_key: '', made_ms: 0, changed_ms: 0, trouble: '', confirmed: 0, using_next: 0, ports: [], unconfirmed: [] };
  if (path === '/licence') return method === 'POST' ? refuse(422, 'licence', 'this is no licence: it has no dot', 'text') : licence();
  if (path.endsWith('/pin')) return probes()[0];
  if (path === '/admission') return { mode: 'open', pending: 0, pending_max: 1000 };
  if (path === '/tokens') return [];
  if (path === '/configuration') return { version: 0, settings: {}, changed_ms: 0, changed_by: '', templates: ['all', 'v9'] };
  if (path.endsWith('/configuration')) return { version: 1, state: 'confirmed', state_text: 'version 1 is in force', settings: { sampling: 10 }, general: {}, wanted: { sampling: 10 }, changed_ms: started, changed_by: 'ada', templates: ['all', 'v9'], reported: true, reported_version: 1, reason: '', running: { filter: '', sampling: 10, active_s: 60, idle_s: 15, template: 'all' }, started_with: { filter: '', sampling: 1, active_s: 60, idle_s: 15, template: 'all' } };
  if (path === '/interfaces') return [iface()];
  if (path === '/interfaces/0') {
    const address = q.get('address') || '127.0.0.1';
    const key = 'YzgwNTVhMTgwMmM0NDk4MGE2NGI3YzhiMTVhOTI0ZTV7ImsiOiI0YjY5NDgyZDcxMzYzNTM0NmUzMDI0MmY2YTI0NGU2MTJhNzM2NDZhMmU0ZTNlM2QzOTY5NGU2MzZhNjg2MTIyMjJ9';
    return { ...iface(), public_key: '4b69482d7136353'.repeat(5) + '4e302', key_string: key, data_port: 5556, events_port: 5557, address, address_known: false,
      probe_command: `weir-probe -i eno1 --ntopng tcp://${address}:5556 --zmq-publish-events tcp://${address}:5557 --zmq-probe-mode --zmq-encryption-key '${key}'`,
      reach_text: `The probe needs outbound TCP to ${address}:5556 and ${address}:5557, nothing inbound.`, probes: probes(),
      problems: mode === 'problem' ? [{ address: '203.0.113.7', kind: 'wrong_key', text: 'A peer at 203.0.113.7 uses a wrong key', count: 5, first_ms: started, last_ms: Date.now() - 3000 }] : [] };
  }
  if (path.startsWith('/interfaces/')) return refuse(404, 'missing', 'There is no such interface.');
  if (path === '/fields') return [{ name: 'src_ip', description: 'Address of the initiator, the side that opened the flow.' }, { name: 'octets', description: 'Bytes from initiator to responder, IP header and payload.' }]
    .map((f) => ({ kind: 'U64', unit: '', nprobe_name: '', pen: 0, element: 1, always: true, ...f }));
  if (/!!/.test(q.get('filter') ?? '')) return refuse(400, 'filter', 'At character 5: a field is expected, not "!!".', 'filter');
  const { from, to, list } = between(q);
  if (path === '/flows') {
    const sort = q.get('sort') ?? 'last_ms';
    const key = { total_octets: (f) => f.octets + f.rev_octets, total_packets: (f) => f.packets + f.rev_packets, duration_ms: (f) => f.last_ms - f.first_ms }[sort] ?? ((f) => f[sort] ?? '');
    const sorted = [...list].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (q.get('order') === 'asc' ? 1 : -1));
    const at = Number(q.get('offset') ?? 0);
    return { flows: sorted.slice(at, at + Number(q.get('limit') ?? 100)), total: list.length, from_ms: from, to_ms: to, elapsed_ms: 12.3 };
  }
  if (path === '/top') {
    const sums = new Map();
    for (const f of list) for (const key of q.get('by') === 'host' ? [f.src_ip, f.dst_ip] : [f.app_name ?? '']) {
      const row = sums.get(key) ?? { key, octets: 0, rev_octets: 0, packets: 0, rev_packets: 0, flows: 0 };
      row.octets += f.octets; row.rev_octets += f.rev_octets; row.flows++; sums.set(key, row);
    }
    return { by: 'host', metric: 'octets', rows: [...sums.values()].sort((a, b) => b.octets + b.rev_octets - a.octets - a.rev_octets).slice(0, Number(q.get('limit'))),
      total_octets: 1, total_packets: 1, total_flows: list.length, from_ms: from, to_ms: to, elapsed_ms: 4 };
  }
  if (path === '/timeseries') {
    const step = Number(q.get("step_ms") ?? 5000);
    const begin = Math.floor(from / step) * step;
    const times = []; for (let t = begin; t < to; t += step) times.push(t);
    const rows = new Map();
    for (const f of list) { const key = f.app_name ?? ''; if (!rows.has(key)) rows.set(key, times.map(() => 0)); rows.get(key)[Math.floor((f.last_ms - begin) / step)] += f.octets + f.rev_octets; }
    return { from_ms: begin, to_ms: to, step_ms: step, times_ms: times, series: [...rows].map(([key, values]) => ({ key, values })), elapsed_ms: 9 };
  }
  return refuse(404, 'missing', `There is no ${path}.`);
}

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
createServer(async (request, response) => {
  const url = new URL(request.url, 'http://x');
  if (!url.pathname.startsWith('/api/v1')) {
    const file = join(dist, url.pathname.replaceAll('..', ''));
    const found = url.pathname !== '/' && existsSync(file) ? file : join(dist, 'index.html');
    if (!existsSync(found)) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': types[extname(found)] ?? 'text/plain',
      'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'" });
    return response.end(readFileSync(found));
  }
  const path = url.pathname.slice('/api/v1'.length);
  if (path === '/live/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write(': hello\n\n');
    subscribers.add(response);
    return request.on('close', () => subscribers.delete(response));
  }
  if (path.endsWith('/sample-config')) {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Disposition': 'attachment; filename="weir-probe.conf"' });
    return response.end(`-i=eno1\n--ntopng=tcp://${url.searchParams.get('address') ?? '127.0.0.1'}:5556\n`);
  }
  let text = '';
  for await (const part of request) text += part;
  const answer = api(request.method, path, url.searchParams, text ? JSON.parse(text) : {});
  response.writeHead(answer.status && answer.body ? answer.status : 200, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(answer.body ?? answer));
}).listen(port, '127.0.0.1', () => console.log(`mock hub on http://127.0.0.1:${port}`));
