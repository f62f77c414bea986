import { ShoalError } from './errors.js';
import { LIMITS } from './limits.js';
import { LABEL_PATTERN } from './manifest-schema.js';

/** Labels as options give them, KEY=VALUE each. Throws SHOAL_E_USAGE. */
export function readLabels(given: readonly string[]): Record<string, string> {
  const labels: [string, string][] = given.map((each) => {
    const [key = '', value = '', ...more] = each.split('=');
    if (more.length > 0) throw new ShoalError('SHOAL_E_USAGE', `--label must be KEY=VALUE, not ${each}`);
    assertLabel('--label', key);
    assertLabel('--label', value);
    return [key, value];
  });
  if (labels.length > LIMITS.labelsMax) {
    throw new ShoalError('SHOAL_E_USAGE', `at most ${LIMITS.labelsMax} labels, not ${labels.length}`);
  }
  return Object.fromEntries(labels);
}

/** Throws SHOAL_E_USAGE unless the text may be a label, its value or a taint. */
export function assertLabel(option: string, text: string): void {
  if (text.length <= LIMITS.nameLengthMax && new RegExp(LABEL_PATTERN).test(text)) return;
  const allowed = `1 to ${LIMITS.nameLengthMax} letters, digits, hyphens, underscores and dots`;
  throw new ShoalError('SHOAL_E_USAGE', `${option}: expected ${allowed}, found ${JSON.stringify(text)}`);
}
