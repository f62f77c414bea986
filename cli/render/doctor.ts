import type { Paint } from './paint.js';
import { clean } from './text.js';

/** One requirement of Shoal on a host. */
export interface Finding {
  id: string;
  what: string;
  met: boolean;
  /** Without it no instance can run; the others only degrade. */
  required: boolean;
  found: string;
  remedy: string;
}

/** One line for each requirement, and its remedy when it is not met; then a sum. */
export function renderFindings(findings: readonly Finding[], paint: Paint): string[] {
  const lines = findings.flatMap((finding) => {
    const line = `${mark(finding, paint)} ${clean(finding.what)}: ${clean(finding.found)}`;
    return finding.met ? [line] : [line, `          remedy: ${clean(finding.remedy)}`];
  });
  const missing = findings.filter((finding) => !finding.met);
  const required = missing.filter((finding) => finding.required).length;
  const degraded = missing.length - required;
  return [...lines, '', `${findings.length - missing.length} met, ${required} missing, ${degraded} degraded`];
}

function mark({ met, required }: Finding, paint: Paint): string {
  if (met) return paint.green('met      ');
  return required ? paint.red('MISSING  ') : paint.yellow('degraded ');
}
