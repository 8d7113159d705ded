// The thread of HouseworkThread. Below everything else in priority from its first step: also that it reads its own code must
// not keep commits waiting where there is but one core.
import { yieldToOthers } from './yield-to-others.ts';

yieldToOthers();
await import('./work.ts');
