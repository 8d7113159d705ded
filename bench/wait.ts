/** Looks every 5 ms whether `test` holds; false when it does not within `within` milliseconds. */
export async function until(test: () => boolean, within: number): Promise<boolean> {
  const deadline = performance.now() + within;
  while (!test()) {
    if (performance.now() > deadline) return false;
    await sleep(5);
  }
  return true;
}

export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
