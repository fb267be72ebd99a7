// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vitest/config';

const hub = process.env.WEIR_HUB ?? 'http://127.0.0.1:3000';

/** Beside each text file its .gz, which the hub sends to those who take it. */
function compressed(folder: string): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const path = join(folder, name);
        if (/\.(js|css|html|svg)$/.test(name)) writeFileSync(path + '.gz', gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), compressed('dist')],
  build: {
    target: 'es2022',
    // The hub's Content-Security-Policy allows no data: addresses but for images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { port: 5173, proxy: { '/api': { target: hub, changeOrigin: false } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
