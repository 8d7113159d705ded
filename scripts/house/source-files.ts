import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository, with a trailing slash. */
export const repository: string = fileURLToPath(new URL('../../', import.meta.url));

export interface SourceFile {
  /** From the repository on, with `/`. */
  readonly path: string;
  /** The text with comments blanked out, so that line numbers stay true. */
  readonly code: string;
}

/** Shipped TypeScript of all packages; tests, benches and scripts may import what they like. */
export function sourceFiles(root: string = repository): SourceFile[] {
  return globSync('packages/*/src/**/*.{ts,tsx}', { cwd: root })
    .map(path => path.replaceAll('\\', '/'))
    .sort()
    .map(path => ({ path, code: withoutComments(readFileSync(root + path, 'utf8')) }));
}

/** Strings are matched first, so that `'http://x'` is no comment. */
const stringOrComment = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;

export function withoutComments(text: string): string {
  return text.replaceAll(stringOrComment, match => (match.startsWith('/') ? match.replaceAll(/[^\n]/g, ' ') : match));
}

export function lineAt(code: string, index: number): number {
  return code.slice(0, index).split('\n').length;
}
