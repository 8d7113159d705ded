#!/usr/bin/env node
import { fileURLToPath } from 'node:url';

const main = new URL('../src/cli/main.ts', import.meta.url);
const [command = 'serve'] = process.argv.slice(2);
if (Number(process.versions.node.split('.')[0]) >= 24) {
  if (command === 'serve' || command.startsWith('-')) {
    const { withFewHelpers } = await import('./v8-threads.js');
    withFewHelpers();
  }
  await import(main.href);
} else {
  const { fewHelpers } = await import('./v8-threads.js');
  const { runNode } = await import('./node.js');
  runNode([fewHelpers, fileURLToPath(main), ...process.argv.slice(2)]);
}
