import { existsSync, readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { ConfigProblem } from './problem.ts';

const usualName = './tailrace.yaml';

export interface ConfigFile {
  /** Undefined when there is none, which is fine unless one was named. */
  readonly path: string | undefined;
  readonly tree: Record<string, unknown>;
  readonly problems: readonly ConfigProblem[];
}

/** Reads a YAML (so also JSON) settings file; without a name ./tailrace.yaml if it is there. */
export function readConfigFile(named: string | undefined): ConfigFile {
  const path = named ?? (existsSync(usualName) ? usualName : undefined);
  if (path === undefined) return { path, tree: {}, problems: [] };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return failed(path, `cannot read the settings file: ${(error as Error).message}`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fault = document.errors[0];
  if (fault !== undefined) {
    const { line, col } = lines.linePos(fault.pos[0]);
    return failed(path, `line ${line}, column ${col}: ${fault.message}`);
  }
  const tree: unknown = document.toJS() ?? {};
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree))
    return failed(path, 'the file must be a mapping of settings, such as "port: 4080"');
  return { path, tree: tree as Record<string, unknown>, problems: [] };
}

function failed(path: string, message: string): ConfigFile {
  return { path, tree: {}, problems: [{ severity: 'error', path: '', source: path, message }] };
}
