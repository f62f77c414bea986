export interface DemoRequest {
  method: 'GET' | 'PUT';
  path: string;
  body?: string;
}

export interface DemoCounts {
  /** Requests that got the answer that is due. */
  answered: number;
  /** Those that got none. */
  failed: number;
  /** Searches that did not find a document whose adding was answered. */
  missing: number;
  /** Answers that nothing explains, in words; the last few. */
  wrong: string[];
}

const WORDS_PER_DOCUMENT = 8;
/** One request in so many adds a document, the others search: fewer than there are words, so that old ones are searched too. */
const REQUESTS_PER_DOCUMENT = 5;
const WRONG_MAX = 10;

/**
 * What one client asks of the demo: it adds documents, and searches each for one of its words after the other. No two requests
 * of all clients are the same, so that one which is answered twice can be told; one document at most is found by each.
 */
export class DemoRequests {
  readonly #client: string;
  readonly #random: () => number;
  /** Documents whose adding was answered, with how many of their words were searched. */
  readonly #added: { name: string; searched: number }[] = [];
  #made = 0;
  #documents = 0;
  readonly counts: DemoCounts = { answered: 0, failed: 0, missing: 0, wrong: [] };

  /** `client`: letters and digits that no other client has. */
  constructor(client: string, random: () => number) {
    this.#client = client;
    this.#random = random;
  }

  /** The next request, and what is to be told of it: the status and body of its answer, or null when there was none. */
  next(): { request: DemoRequest; end: (answer: { status: number; body: string } | null) => void } {
    const at = Math.floor(this.#random() * this.#added.length);
    const document = this.#added[at];
    this.#made += 1;
    if (document === undefined || this.#made % REQUESTS_PER_DOCUMENT === 1) return this.#add();
    const word = `w${document.searched}`;
    document.searched += 1;
    if (document.searched === WORDS_PER_DOCUMENT) this.#added.splice(at, 1);
    const request: DemoRequest = { method: 'GET', path: `/search?q=${document.name}+${word}` };
    return { request, end: (answer) => this.#ended(request, answer, (found) => this.#found(request, found)) };
  }

  #add(): ReturnType<DemoRequests['next']> {
    this.#documents += 1;
    const name = `${this.#client}x${this.#documents}`;
    const body = [name, ...Array.from({ length: WORDS_PER_DOCUMENT }, (_, i) => `w${i}`)].join(' ');
    const request: DemoRequest = { method: 'PUT', path: `/documents/${name}`, body };
    const added = (result: unknown) => {
      if ((result as { added?: unknown }).added !== true) return this.#wrong(request, result);
      this.counts.answered += 1;
      this.#added.push({ name, searched: 0 });
    };
    return { request, end: (answer) => this.#ended(request, answer, added) };
  }

  #ended(request: DemoRequest, answer: { status: number; body: string } | null, take: (result: unknown) => void): void {
    // 503: the demo says that a part of it did not answer.
    if (answer === null || answer.status === 503) this.counts.failed += 1;
    else if (answer.status === 200) take(JSON.parse(answer.body));
    else this.#wrong(request, `${answer.status} ${answer.body}`);
  }

  #found(request: DemoRequest, result: unknown): void {
    const { documents } = result as { documents?: unknown };
    if (documents === 1) this.counts.answered += 1;
    else if (documents === 0) this.counts.missing += 1;
    else this.#wrong(request, result);
  }

  #wrong({ method, path }: DemoRequest, result: unknown): void {
    if (this.counts.wrong.length < WRONG_MAX) this.counts.wrong.push(`${method} ${path}: ${JSON.stringify(result)}`);
  }
}
