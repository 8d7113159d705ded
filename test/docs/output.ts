/**
 * Whether `output` has the lines of `wanted` in this order, with others in between; `…` stands for anything and empty
 * lines for nothing. Returns the first line that is missing.
 */
export function missingLine(wanted: string, output: string): string | undefined {
  const lines = output.split('\n').map(line => line.trimEnd());
  let at = 0;
  for (const line of wanted.split('\n')) {
    if (line.trim() === '') continue;
    const pattern = new RegExp(`^${line.trimEnd().split('…').map(literal).join('.*')}$`);
    while (at < lines.length && !pattern.test(lines[at]!)) at++;
    if (at === lines.length) return line;
    at++;
  }
  return undefined;
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
