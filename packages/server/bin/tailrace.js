#!/usr/bin/env node
import { fileURLToPath } from 'node:url';

const main = new URL('../src/cli/main.ts', import.meta.url);
if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import(main.href);
} else {
  const { runNode } = await import('./node.js');
  runNode([fileURLToPath(main), ...process.argv.slice(2)]);
}
