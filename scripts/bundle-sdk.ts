import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const SDK = resolve(fileURLToPath(import.meta.url), '../../sdk');

/**
 * Makes dist/sdk/bundle.js, which `shoal/sdk` is, of the compiled SDK: to find and link sixty modules takes Node.js as long
 * as to run them, at each start of each instance. Packages stay outside, as they have licences and native parts of their own.
 */
await build({
  entryPoints: [join(SDK, 'index.js')],
  outfile: join(SDK, 'bundle.js'),
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
});
