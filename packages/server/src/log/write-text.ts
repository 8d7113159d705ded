/**
 * Writes text as UTF-8; returns where it ends. Most names are short ASCII, for which a loop is faster than a call into
 * native code. Hot.
 */
export function writeText(buffer: Buffer, text: string, at: number): number {
  const { length } = text;
  if (length > 64) return at + buffer.write(text, at, 'utf8');
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return at + buffer.write(text, at, 'utf8');
    buffer[at + i] = code;
  }
  return at + length;
}
