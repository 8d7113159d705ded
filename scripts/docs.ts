// Writes the generated pages of docs/, or with --check says which are not up to date.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { clientStatesPage } from './docs/client-states-page.ts';
import { errorsPage } from './docs/errors-page.ts';
import { settingsPage } from './docs/settings-page.ts';
import { repository } from './house/source-files.ts';

const pages: Readonly<Record<string, () => string>> = {
  'docs/settings.md': settingsPage,
  'docs/errors.md': errorsPage,
  'docs/client-states.md': clientStatesPage,
};

/** Names of generated pages whose text is not what the code says now. */
export function stalePages(): string[] {
  return Object.keys(pages).filter(path => textOf(path) !== pages[path]!());
}

if (import.meta.main) {
  if (process.argv.includes('--check')) {
    const stale = stalePages();
    for (const path of stale) console.error(`${path} is not up to date: run npm run docs`);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } else {
    mkdirSync(`${repository}docs`, { recursive: true });
    for (const [path, page] of Object.entries(pages)) writeFileSync(repository + path, page());
    console.log(`wrote ${Object.keys(pages).join(', ')}`);
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(repository + path, 'utf8');
  } catch {
    return undefined;
  }
}
