import { existsSync } from 'node:fs';
import { ShoalError } from '../protocol/errors.js';

/** Folder of Shoal's package.json as a URL that ends in a slash: above dist/ when built, and wherever else it was built to. */
export function findPackageRoot(from = import.meta.url): URL {
  let folder = new URL('.', from);
  for (;;) {
    if (existsSync(new URL('package.json', folder))) return folder;
    const parent = new URL('..', folder);
    if (parent.href === folder.href) {
      throw new ShoalError('SHOAL_E_INTERNAL', `no package.json above ${new URL('.', from).pathname}`);
    }
    folder = parent;
  }
}
