/** A text that may be the URL of an engine as it may be shown, whatever is wrong with it: without all that may be a password. */
export function withoutPassword(text: string): string {
  // one that was not encoded may hold any character
  if (text.includes('://')) return text.replace(/:\/\/.*@/s, '://').replace(/[?#].*$/s, '');
  return text.replace(/^([a-z+]*:\/?)?.*:.*@/is, '$1').replace(/^([a-z+]+:\/?).*@/is, '$1');
}
