import { globSync, readFileSync } from 'node:fs';
import { repository } from '../../scripts/house/source-files.ts';

/**
 * Markers stand in HTML comments directly above a block, so that a page says what it promises and readers do not see it.
 *
 * Above ```sh, which is run in a directory that all blocks of a page share, beside a server of its own:
 * - `<!-- shows: text -->`       its output has this text; may be repeated
 * - `<!-- exit: 1 -->`           it ends with this code instead of 0
 * - `<!-- terminal: name -->`    it goes on running, under this name, until the end of the page
 * - `<!-- stop: name -->`        first the terminal of this name gets Ctrl-C
 * - `<!-- server: stopped -->`   the server is stopped before it and started again after it
 * - `<!-- server: killed -->`    the same by kill -9
 * - `<!-- server: restarted -->` it was killed by kill -9 and started again before it
 * - `<!-- skip: reason -->`      it is not run; blocks.test.ts lists every one
 * Above any other block:
 * - `<!-- output -->`            its lines come in this order in what the block above printed; `…` stands for anything
 * - `<!-- output: name -->`      the same for a terminal, which is waited for
 * - `<!-- file: name -->`        it is written to this file
 */
export const markerNames = ['shows', 'exit', 'terminal', 'stop', 'server', 'skip', 'output', 'file'] as const;
export type MarkerName = (typeof markerNames)[number];

export interface Marker {
  readonly name: MarkerName;
  readonly value: string;
}

export interface Block {
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  readonly markers: readonly Marker[];
}

export interface Page {
  /** From the repository on. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The text without its blocks: what names, links and sections are looked for in. */
  readonly prose: string;
}

/** README.md, CONTRIBUTING.md and everything in docs/. */
export function pages(): Page[] {
  return globSync(['*.md', 'docs/**/*.md'], { cwd: repository })
    .sort()
    .map(path => parsePage(path, readFileSync(repository + path, 'utf8')));
}

export function parsePage(path: string, text: string): Page {
  const blocks: Block[] = [];
  const prose: string[] = [];
  let markers: Marker[] = [];
  let open: { line: number; language: string; markers: Marker[]; lines: string[] } | undefined;
  text.split('\n').forEach((line, index) => {
    const fence = /^```(\S*)/.exec(line);
    if (open !== undefined) {
      if (fence !== null) {
        blocks.push({ ...open, text: open.lines.join('\n') });
        open = undefined;
      } else open.lines.push(line);
      prose.push('');
      return;
    }
    if (fence !== null) {
      open = { line: index + 1, language: fence[1]!, markers, lines: [] };
      prose.push('');
    } else prose.push(line);
    const marker = readMarker(line);
    markers = marker === undefined ? [] : [...markers, marker];
  });
  if (open !== undefined) throw new Error(`${path}:${open.line}: the block is not closed`);
  return { path, text, blocks, prose: prose.join('\n') };
}

function readMarker(line: string): Marker | undefined {
  const match = /^<!-- (\w+)(?:: (.*))? -->$/.exec(line);
  const name = markerNames.find(known => known === match?.[1]);
  return name === undefined ? undefined : { name, value: match![2] ?? '' };
}

export function values(block: Block, name: MarkerName): string[] {
  return block.markers.filter(marker => marker.name === name).map(marker => marker.value);
}
