// SPDX-License-Identifier: Apache-2.0
// TypeScript types from the API's own description and from the registry of protocol numbers.
// Only the parts of JSON Schema that the document uses are known here; any other one is an error,
// so that a new construct cannot turn silently into a wrong type.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const api = JSON.parse(readFileSync(new URL('../../spec/openapi.json', here), 'utf8'));
const registry = readFileSync(new URL('../../spec/registry/protocol-numbers.csv', here), 'utf8');

const known = new Set([
  'type', 'format', 'description', 'properties', 'required', 'additionalProperties', 'items', 'enum',
  'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'default', '$ref', 'allOf',
  'oneOf', 'example', 'examples', 'pattern', 'title', 'const', 'deprecated',
]);

function type(schema, depth = 1) {
  for (const key of Object.keys(schema))
    if (!known.has(key) && !key.startsWith('x-')) throw new Error(`types.mjs does not know "${key}"`);
  if (schema.$ref) return schema.$ref.split('/').pop();
  if (schema.allOf) return schema.allOf.map((part) => type(part, depth)).join(' & ');
  if (schema.oneOf) return schema.oneOf.map((part) => type(part, depth)).join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((word) => JSON.stringify(word)).join(' | ');
  if (Array.isArray(schema.type))
    return schema.type.map((one) => type({ ...schema, type: one }, depth)).join(' | ');
  switch (schema.type) {
    case 'integer':
    case 'number':
      return 'number';
    case 'string':
    case 'boolean':
    case 'null':
      return schema.type;
    case 'array': {
      const item = type(schema.items, depth);
      return /[&|]/.test(item) ? `(${item})[]` : `${item}[]`;
    }
    case 'object':
      return object(schema, depth);
  }
  throw new Error(`types.mjs cannot tell the type of ${JSON.stringify(schema)}`);
}

function object(schema, depth) {
  const pad = '  '.repeat(depth);
  const lines = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const note = member.description ? `${pad}/** ${member.description} */\n` : '';
    const mark = (schema.required ?? []).includes(name) ? '' : '?';
    return `${note}${pad}${name}${mark}: ${type(member, depth + 1)};`;
  });
  if (schema.additionalProperties === true) lines.push(`${pad}[name: string]: unknown;`);
  return `{\n${lines.join('\n')}\n${'  '.repeat(depth - 1)}}`;
}

function resolve(part) {
  return part.$ref ? part.$ref.slice(2).split('/').reduce((at, name) => at[name], api) : part;
}

function operation(method, path, op) {
  const params = (op.parameters ?? []).map(resolve);
  const place = (where) => params.filter((row) => row.in === where);
  const shape = (rows) =>
    rows.length === 0
      ? 'undefined'
      : type({
          type: 'object',
          required: rows.filter((row) => row.required).map((row) => row.name),
          properties: Object.fromEntries(
            rows.map((row) => [row.name, { ...row.schema, description: row.description }]),
          ),
        }, 3);
  const body = op.requestBody?.content['application/json']?.schema;
  const content = resolve(op.responses['200']).content ?? {};
  const json = content['application/json']?.schema;
  return `  /** ${op.summary} */
  ${op.operationId}: {
    method: '${method.toUpperCase()}';
    path: '${path}';
    inPath: ${shape(place('path'))};
    inQuery: ${shape(place('query'))};
    body: ${body ? type(body, 3) : 'undefined'};
    answer: ${json && Object.keys(json).length ? type(json, 3) : 'string'};
  };`;
}

const lines = ['// Written by scripts/types.mjs from spec/openapi.json. Do not edit.', ''];
for (const [name, schema] of Object.entries(api.components.schemas)) {
  if (schema.description) lines.push(`/** ${schema.description} */`);
  lines.push(`export type ${name} = ${type(schema)};`, '');
}
const rows = [];
const where = [];
for (const [path, methods] of Object.entries(api.paths))
  for (const [method, op] of Object.entries(methods)) {
    if (!op.operationId || op['x-weir-stream']) continue;
    if (path === '/openapi.json') continue;
    rows.push(operation(method, path, op));
    where.push(`  ${op.operationId}: ['${method.toUpperCase()}', '${path}'],`);
  }
lines.push('export interface Operations {', rows.join('\n'), '}', '');
lines.push('export const base = ' + JSON.stringify(api.servers[0].url) + ';', '');
lines.push('export const operations: { [K in keyof Operations]: readonly [string, string] } = {');
lines.push(where.join('\n'), '};', '');

const protocols = registry
  .trim()
  .split('\n')
  .map((line) => line.split(','))
  .filter(([number, word]) => /^\d+$/.test(number) && word)
  .map(([number, word]) => `  ${number}: ${JSON.stringify(word)},`);

const out = new URL('../src/api/', here);
mkdirSync(out, { recursive: true });
function write(name, text) {
  const file = new URL(name, out);
  // An unchanged file keeps its time: what is built from it is not built again.
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
}
write('types.ts', lines.join('\n'));
write(
  'protocols.ts',
  ['// Written by scripts/types.mjs from spec/registry/protocol-numbers.csv. Do not edit.', '',
   'export const protocols: Record<number, string> = {', ...protocols, '};', ''].join('\n'),
);
