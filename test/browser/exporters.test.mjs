// SPDX-License-Identifier: Apache-2.0
// Exporters in the browser: who sends and who is silent, what became of all of it, the counters of
// an interface, and names beside the flows. What is sent is made by the system tests' exporters.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { becomeAdministrator, faintText, newPage, otherLooks, output, runSteps, Site, startBrowser, until } from './programs.mjs';

const site = new Site();
let page;
let port;
const steps = [];
const step = (name, body) => steps.push([name, body]);
const shot = (name) => page.screenshot({ path: join(output, `${name}.png`), fullPage: true });
const row = (text) => page.locator('tr.row', { hasText: text });
const account = () => page.locator('[data-test=account]').first();

/** Lines of Python that see _exporter as e, and send(address, datagrams). */
function send(lines) {
  const script = `import socket, sys
sys.path.insert(0, ${JSON.stringify(resolve(new URL('../system', import.meta.url).pathname))})
import _exporter as e
def send(address, datagrams):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 0))
        for one in datagrams:
            s.sendto(one, ("127.0.0.1", ${port}))
some = lambda n: [e.flow(i) for i in range(n)]
${lines}
`;
  execFileSync('python3', ['-B', '-c', script]);
}

step('a hub that knows no exporter says what to do', async () => {
  await site.startHub();
  page = await newPage(await startBrowser(), site);
  await becomeAdministrator(page, site);
  await page.goto(`${site.url}/exporters`);
  await page.getByText('No exporter is known').waitFor();
  await page.getByText('No probe has connected yet').waitFor();
});

step('exporters of a probe, each with what became of what it sent', async () => {
  const [data, events] = site.ports;
  writeFileSync(join(site.folder, 'names'), '127.0.0.2\tcore-1\tOslo\n203.0.113.9\tswitch-7\tBergen\n');
  writeFileSync(join(site.folder, 'faces'), '203.0.113.9 7 Gi1/0/7\n127.0.0.2 3 xe-0/0/3\n');
  const file = join(site.folder, 'first.conf');
  writeFileSync(file, `--collector-port=127.0.0.1:0\n--exporter-names=${join(site.folder, 'names')}\n--snmp-mappings=${join(site.folder, 'faces')}\n` +
    `--zmq-probe-mode=\n--ntopng=tcp://127.0.0.1:${data}\n--zmq-publish-events=tcp://127.0.0.1:${events}\n--zmq-encryption-key=${site.publicKey()}\n`);
  const probe = site.startProbe(file, 'first');
  port = Number(await until('its port', () => /on port (\d+)/.exec(probe.said)?.[1]));
  send(`send("127.0.0.2", [e.old(5, some(3), 0, sampling=100), e.old(5, some(3), 10, sampling=100)])
send("127.0.0.3", [e.v9([e.a_set(260, e.v9_data(some(2)))], 0)])
send("127.0.0.4", [e.ipfix([e.template(300, e.IPFIX_ELEMENTS), e.a_set(300, e.ipfix_data([f | {"rev_octets": 1, "rev_packets": 1} for f in some(4)]))])])
send("127.0.0.1", [e.sflow(some(2)), e.sflow_counters([e.interface_sample(7, 0, 0)], sequence=2)])`);
  await row('core-1').waitFor();
  await row('core-1').getByText('1 in 100').waitFor();
  await row('core-1').getByText('NetFlow v5').waitFor();
  await row('127.0.0.3').getByText('its data waits for templates').waitFor();
  await row('127.0.0.4').getByText('IPFIX').waitFor();
  await row('switch-7').getByText('sFlow v5').waitFor();
  assert.deepEqual(await page.evaluate(faintText), []);
  await shot('exporters');
});

step('they are searched, and told apart by state', async () => {
  await page.getByLabel('Search exporters').fill('oslo');
  await row('127.0.0.3').waitFor({ state: 'detached' });
  await row('core-1').waitFor();
  await page.getByLabel('Search exporters').fill('');
  await page.getByRole('button', { name: /need attention/ }).click();
  await row('127.0.0.4').waitFor({ state: 'detached' });
  await row('127.0.0.3').waitFor();
  await page.getByRole('button', { name: 'Show all' }).click();
  await row('127.0.0.4').waitFor();
});

step('one of them: the account, with each part named', async () => {
  await row('core-1').click();
  await page.getByRole('heading', { name: 'core-1' }).waitFor();
  await account().getByText('sent 13 flows').waitFor();
  await account().getByText('decoded 6').waitFor();
  await account().getByText('7 lost on the way').waitFor();
  await page.getByText('One of 100 packets is metered, as its header says').waitFor();
  await page.getByText('xe-0/0/3 (3)').waitFor();
  await shot('exporter');
});

step('counters of an interface are drawn', async () => {
  for (let i = 1; i < 5; i++) {
    send(`send("127.0.0.1", [e.sflow_counters([e.interface_sample(7, ${i}, ${i} * 5000000, ${i} * 9000)], sequence=${2 + i})])`);
    await new Promise((done) => setTimeout(done, 1500));
  }
  await page.goto(`${site.url}/exporters`);
  await row('switch-7').click();
  await page.getByRole('heading', { name: /Gi1\/0\/7 \(7\), bits per second in and out/ }).waitFor();
  await page.locator('canvas').waitFor();
  const bytes = async () => {
    const id = page.url().match(/exporters\/(\d+)/)[1];
    const answer = await page.evaluate(async (path) => (await fetch(path)).json(), `/api/v1/exporters/${id}/interfaces/7?from=0`);
    return answer.steps.reduce((sum, one) => sum + one.in_octets, 0);
  };
  await until('all of the counters', async () => (await bytes()) === 20_000_000);
  await page.getByText('up', { exact: true }).first().waitFor();
  assert.deepEqual(await page.evaluate(faintText), []);
  await shot('exporter-interface');
  const path = new URL(page.url()).pathname;
  await otherLooks(page, site, 'exporter', path, (other) => other.locator('canvas').waitFor());
  await otherLooks(page, site, 'exporters', '/exporters', (other) => other.locator('tr.row', { hasText: 'core-1' }).waitFor());
});

step('from an exporter to its flows, and the name of the interface beside them', async () => {
  await page.goto(`${site.url}/exporters`);
  await row('core-1').click();
  await page.getByRole('link', { name: 'Its flows' }).click();
  await page.locator('[data-test=found]').getByText(/6 flows/).waitFor();
  await page.locator('tbody tr').first().locator('td').first().click();
  await page.getByRole('dialog').getByText('xe-0/0/3').waitFor();
  await page.getByRole('dialog').getByText('one of 100 packets').waitFor();
  await shot('exporter-flow');
});

step('a probe that is gone: nothing is known of its exporters', async () => {
  await site.running.find((one) => one.name === 'weir-probe').stop();
  await page.goto(`${site.url}/exporters`);
  await row('core-1').getByText('its probe is not connected').waitFor();
  assert.deepEqual(page.wrong, []);
  assert.deepEqual(page.elsewhere, []);
});

runSteps('exporters', steps, site, () => page);
