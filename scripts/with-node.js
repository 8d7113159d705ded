// npm scripts start here: runs a TypeScript file of this repository on a Node that can.
import { runNode } from '../packages/server/bin/node.js';

runNode(process.argv.slice(2));
