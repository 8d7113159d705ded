import { expect, test } from 'vitest';
import { isCloseCode } from '../../../src/gateway/websocket/close-code.ts';

test('exactly the codes that RFC 6455 §7.4 and the registry allow in a frame are accepted', () => {
  const allowed = [];
  for (let code = 0; code <= 0xffff; code++) if (isCloseCode(code)) allowed.push(code);
  const below3000 = allowed.filter(code => code < 3000);
  expect(below3000).toEqual([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]);
  expect(allowed.slice(below3000.length)).toEqual(Array.from({ length: 2000 }, (_, at) => 3000 + at));
});
