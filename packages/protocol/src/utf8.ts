/**
 * UTF-8 of a string. Node's Buffer is used where it is global: a TextEncoder takes three times as long for the short
 * strings that messages are made of.
 */
export const encodeUtf8: (text: string) => Uint8Array = pick();

function pick(): (text: string) => Uint8Array {
  const { Buffer } = globalThis as { readonly Buffer?: { from(text: string, encoding: 'utf8'): Uint8Array } };
  if (Buffer !== undefined) return text => Buffer.from(text, 'utf8');
  const encoder = new TextEncoder();
  return text => encoder.encode(text);
}

/** Bytes that `text` has as UTF-8; lone surrogates count as the three bytes of U+FFFD. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x80) continue;
    if (c < 0x800) bytes++;
    else if (c >= 0xd800 && c < 0xdc00 && isLow(text.charCodeAt(i + 1))) {
      bytes += 2;
      i++;
    } else bytes += 2;
  }
  return bytes;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}
