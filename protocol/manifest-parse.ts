import { resolve } from 'node:path';
import { Ajv } from 'ajv';
import type { Component, Manifest } from './manifest.js';
import type { UserManifest } from './manifest-build.js';
import { buildManifest, isRemote } from './manifest-build.js';
import { explain } from './manifest-explain.js';
import { MANIFEST_SCHEMA } from './manifest-schema.js';
import type { Fault, Tree } from './manifest-yaml.js';
import { readTree } from './manifest-yaml.js';

/** More would not help anyone, and a hostile text could make a great many. */
const ERRORS_MAX = 50;

export interface ManifestError {
  file: string;
  /** From 1. */
  line: number;
  /** From 1, in UTF-16 units. */
  column: number;
  /** JSON path such as `$.components.index.count.min`. */
  path: string;
  /** What was expected and what was found. */
  message: string;
}

export type ParseResult = { ok: true; manifest: Manifest } | { ok: false; errors: ManifestError[] };

const ajv = new Ajv({
  allErrors: true,
  verbose: true,
  allowUnionTypes: true,
  strictTypes: false,
  code: { optimize: false },
});
const validate = ajv.compile<UserManifest>(MANIFEST_SCHEMA);

/**
 * Reads a manifest in YAML or JSON, checks it wholly and fills in the defaults. Paths in it stay as written: see
 * resolveDirectories. Pure; never throws, whatever the text.
 */
export function parseManifest(text: string, fileName: string): ParseResult {
  const tree = readTree(text);
  if (tree.faults.length > 0) return refuse(tree.faults, tree, fileName);

  const user: unknown = tree.plain;
  if (!validate(user)) {
    const faults = (validate.errors ?? []).map((error) => explain(error, tree)).filter((fault) => fault !== null);
    return refuse(faults, tree, fileName);
  }
  const faults: Fault[] = [];
  const report = (pointer: string, message: string): void => {
    faults.push({ offset: tree.places.get(pointer)?.value ?? 0, pointer, message });
  };
  const manifest = buildManifest(user, report, (pointer) => tree.places.get(pointer)?.source);
  return faults.length > 0 ? refuse(faults, tree, fileName) : { ok: true, manifest };
}

function refuse(faults: Fault[], tree: Tree, file: string): ParseResult {
  const seen = new Set<string>();
  const errors: ManifestError[] = [];
  for (const fault of faults.toSorted((a, b) => a.offset - b.offset)) {
    // Two keywords of one schema, such as pattern and minLength, give one and the same message.
    const identity = `${fault.pointer} ${fault.message}`;
    if (seen.has(identity) || errors.length >= ERRORS_MAX) continue;
    seen.add(identity);
    const { line, col } = tree.lines.linePos(fault.offset);
    errors.push({
      file,
      line: Math.max(1, line),
      column: Math.max(1, col),
      path: jsonPath(fault.pointer),
      message: fault.message,
    });
  }
  return { ok: false, errors };
}

/** JSON pointer → JSON path: `/components/a b/calls/0` → `$.components["a b"].calls[0]`. */
function jsonPath(pointer: string): string {
  let path = '$';
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (/^[0-9]+$/.test(key)) path += `[${key}]`;
    else path += /^[A-Za-z_][A-Za-z0-9_-]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  }
  return path;
}

/** One error on one line, as compilers print them: `file:line:column: path: message`. */
export function formatManifestError(error: ManifestError): string {
  return `${error.file}:${error.line}:${error.column}: ${error.path}: ${error.message}`;
}

/**
 * The manifest with every relative path made absolute against `baseDir` (the manifest's folder), as the CLI does
 * before it sends it. Addresses such as https://… or git@host:… stay.
 */
export function resolveDirectories(manifest: Manifest, baseDir: string): Manifest {
  const components = Object.entries(manifest.components).map(([name, component]): [string, Component] => [
    name,
    { ...component, source: resolveSource(component.source, baseDir) },
  ]);
  return { ...manifest, components: Object.fromEntries(components) };
}

function resolveSource(source: Component['source'], baseDir: string): Component['source'] {
  if (source.kind === 'image') return source;
  if (source.kind === 'build') {
    return isRemote(source.build) ? source : { ...source, build: resolve(baseDir, source.build) };
  }
  const resolved = { ...source };
  if (resolved.rootfs !== 'host') resolved.rootfs = resolve(baseDir, resolved.rootfs);
  if (resolved.directory !== undefined) resolved.directory = resolve(baseDir, resolved.directory);
  return resolved;
}
