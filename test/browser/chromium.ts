import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { describe } from 'vitest';

/** Where Chromium is; undefined when it is not installed. */
const executablePath = (process.env.PATH ?? '')
  .split(delimiter)
  .flatMap(directory => ['chromium', 'chromium-browser', 'google-chrome'].map(name => join(directory, name)))
  .find(isExecutable);

/** A suite that needs a browser. Without one it is skipped and says so here and at the end of `npm test`. */
export function describeInBrowser(name: string, suite: () => void): void {
  if (executablePath === undefined) {
    console.error(
      `\nDID NOT RUN: "${name}" needs Chromium, and none is in PATH. On Debian: apt-get install chromium\n`,
    );
  }
  describe.skipIf(executablePath === undefined)(name, suite);
}

/** A headless Chromium that reaches nothing but this machine. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: executablePath!,
    args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
