import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { whileGrowing } from '../../../agent/image-store/while-growing.js';

const SILENT_MS_MAX = 400;

t.test('what goes on is left alone, however long it takes, and what stands still is ended', async (t) => {
  const folder = t.testdir({ deeper: {} });
  const begun = performance.now();
  const grow = async (signal: AbortSignal) => {
    while (performance.now() - begun < 3 * SILENT_MS_MAX) {
      await appendFile(join(folder, 'deeper/blob'), 'x');
      await setTimeout(10, undefined, { signal });
    }
    return 'whole';
  };
  t.equal(await whileGrowing(folder, SILENT_MS_MAX, grow), 'whole');
  const hang = (signal: AbortSignal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  await t.rejects(whileGrowing(folder, SILENT_MS_MAX, hang), {
    code: 'SHOAL_E_START',
    message: 'nothing came for 0.4 s',
  });
  await t.rejects(whileGrowing(join(folder, 'none'), SILENT_MS_MAX, hang), { code: 'ENOENT' });
});
