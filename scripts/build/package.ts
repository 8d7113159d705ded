import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { repository } from '../house/source-files.ts';
import { publishedManifest } from './manifest.ts';

/**
 * Makes build/<name>/ from packages/<name>/: JavaScript and types in dist/, and no TypeScript source. Returns the path
 * from the repository on.
 */
export function buildPackage(name: string): string {
  const from = join(repository, 'packages', name);
  const to = join(repository, 'build', name);
  mkdirSync(to, { recursive: true });
  compile(name, to);
  copyOthers(join(from, 'src'), join(to, 'dist'));
  for (const path of globSync('bin/*.js', { cwd: from })) {
    mkdirSync(join(to, 'bin'), { recursive: true });
    const text = readFileSync(join(from, path), 'utf8');
    writeFileSync(join(to, path), text.replaceAll(/'\.\.\/src\/([^']+)\.ts'/g, "'../dist/$1.js'"), { mode: 0o755 });
  }
  if (existsSync(join(from, 'pages'))) cpSync(join(from, 'pages'), join(to, 'pages'), { recursive: true });
  for (const file of ['README.md', 'LICENSE']) {
    const source = [join(from, file), join(repository, file)].find(existsSync);
    if (source !== undefined) cpSync(source, join(to, file));
  }
  const manifest = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')) as Record<string, unknown>;
  if (name !== 'protocol' && !('dependencies' in manifest)) bringProtocolTypes(to);
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(publishedManifest(manifest), null, 2)}\n`);
  return `build/${name}`;
}

function compile(name: string, to: string): void {
  const project = join(to, 'tsconfig.build.json');
  writeFileSync(
    project,
    JSON.stringify({
      extends: '../../tsconfig.json',
      compilerOptions: {
        noEmit: false,
        outDir: 'dist',
        rootDir: `../../packages/${name}/src`,
        // built packages see each other as users will: by their declarations
        paths: { '@tailrace/protocol': ['../protocol/dist/index.d.ts'] },
      },
      include: [`../../packages/${name}/src`],
    }),
  );
  const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '--project', project], {
    cwd: repository,
    stdio: 'inherit',
  });
  rmSync(project);
  if (status !== 0) throw new Error(`packages/${name} does not compile`);
  for (const path of globSync('dist/**/*.{js,d.ts}', { cwd: to })) {
    const file = join(to, path);
    const text = readFileSync(file, 'utf8');
    const changed = path.endsWith('.d.ts') ? rewriteImports(text) : rewriteUrls(text);
    if (changed !== text) writeFileSync(file, changed);
  }
}

/** A package without dependencies brings the types of the protocol that its own mention. */
function bringProtocolTypes(to: string): void {
  const types = globSync('dist/**/*.d.ts', { cwd: to });
  cpSync(join(to, '../protocol/dist'), join(to, 'dist/protocol'), {
    recursive: true,
    filter: path => !path.endsWith('.js'),
  });
  for (const path of types) {
    const file = join(to, path);
    const there = `${'../'.repeat(path.split('/').length - 2) || './'}protocol/index.js`;
    writeFileSync(file, readFileSync(file, 'utf8').replaceAll("'@tailrace/protocol'", `'${there}'`));
  }
}

/** tsc rewrites the suffixes of imports in JavaScript only. */
function rewriteImports(text: string): string {
  return text.replaceAll(/((?:from|import)\s*\(?\s*['"]\.{1,2}\/[^'"]+)\.ts(['"])/g, '$1.js$2');
}

/** `new URL('./worker.ts', import.meta.url)`: a file that is run by its path. */
function rewriteUrls(text: string): string {
  return text.replaceAll(/(new URL\(\s*['"]\.{1,2}\/[^'"]+)\.ts(['"],\s*import\.meta\.url)/g, '$1.js$2');
}

/** Pages and other files that the code reads at run time. */
function copyOthers(from: string, to: string): void {
  for (const path of globSync('**/*.*', { cwd: from, exclude: ['**/*.ts', '**/*.tsx'] })) {
    mkdirSync(dirname(join(to, path)), { recursive: true });
    cpSync(join(from, path), join(to, path));
  }
}
