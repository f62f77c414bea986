import { ERRORS, type ErrorCode, isErrorCode, ShoalError } from '../protocol/errors.js';
import type { Problem } from '../protocol/http.js';

/** An error that is a whole problem document: the server's answer, or one of ours. `--json` prints it unchanged. */
export class ProblemError extends ShoalError {
  constructor(
    readonly problem: Problem,
    /** Name of the file that the lines of the problem's errors are in. */
    readonly file?: string,
  ) {
    super(isErrorCode(problem.code) ? problem.code : codeOfStatus(problem.status), problem.detail);
    this.name = 'ProblemError';
  }
}

/** A problem document of our own. */
export function problemOfCode(code: ErrorCode, detail: string, errors: NonNullable<Problem['errors']> = []): Problem {
  const { status, title } = ERRORS[code];
  return { type: `urn:shoal:error:${code}`, title, status, code, detail, ...(errors.length > 0 ? { errors } : {}) };
}

/** The nearest of our codes for an answer that carries none, such as a proxy's. */
function codeOfStatus(status: number): ErrorCode {
  if (status === 401 || status === 403) return 'SHOAL_E_UNAUTHORIZED';
  if (status === 404) return 'SHOAL_E_NOT_FOUND';
  if (status === 409) return 'SHOAL_E_CONFLICT';
  if (status === 413) return 'SHOAL_E_BODY_TOO_LARGE';
  if (status === 502 || status === 503 || status === 504) return 'SHOAL_E_UNREACHABLE';
  return status >= 400 && status < 500 ? 'SHOAL_E_USAGE' : 'SHOAL_E_INTERNAL';
}

/** The problem in an answer's body, or one made from the status when the body is none. */
export function readProblem(status: number, body: string, what: string): Problem {
  const parsed = parseJson(body);
  if (typeof parsed === 'object' && parsed !== null && 'code' in parsed && 'detail' in parsed) {
    const { code, detail } = parsed;
    if (typeof code === 'string' && typeof detail === 'string') {
      const title = 'title' in parsed && typeof parsed.title === 'string' ? parsed.title : code;
      const type = 'type' in parsed && typeof parsed.type === 'string' ? parsed.type : 'about:blank';
      const errors = 'errors' in parsed && Array.isArray(parsed.errors) ? parsed.errors.filter(isFault) : [];
      return { type, title, status, code, detail, ...(errors.length > 0 ? { errors } : {}) };
    }
  }
  const code = codeOfStatus(status);
  return {
    type: 'about:blank',
    title: ERRORS[code].title,
    status,
    code,
    detail: `${what}: the server answered ${status} without Shoal's error document; is this address a Shoal coordinator?`,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: the caller makes a problem from the status.
    return undefined;
  }
}

function isFault(value: unknown): value is NonNullable<Problem['errors']>[number] {
  if (typeof value !== 'object' || value === null || !('path' in value) || !('message' in value)) return false;
  const place = (key: 'line' | 'column'): boolean =>
    !(key in value) || typeof (value as Record<string, unknown>)[key] === 'number';
  return typeof value.path === 'string' && typeof value.message === 'string' && place('line') && place('column');
}
