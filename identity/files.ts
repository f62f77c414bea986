import { rename, writeFile } from 'node:fs/promises';

/** Puts a file in place whole: whoever reads it meanwhile has the one before. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  await writeFile(`${path}.new`, text, { mode });
  await rename(`${path}.new`, path);
}
