import t from 'tap';
import { CopyNews } from '../../../agent/state/copy-news.js';
import type { CopyReport } from '../../../protocol/state-copies.js';

const report: CopyReport = { epoch: 3, role: 'owner', last: 7, synced: [], failing: [] };

t.test('what is new of copies is said once: another epoch, one that is gone, but not how far a log goes', async (t) => {
  const news = new CopyNews();
  t.same(news.news({ 'a/b/0': report }), { copies: { 'a/b/0': report } });
  t.same(news.news({ 'a/b/0': report }), {});
  t.same(news.news({ 'a/b/0': { ...report, last: 8 } }), {});
  const later = { ...report, epoch: 4, last: 8 };
  t.same(news.news({ 'a/b/0': later, 'a/b/1': report }), { copies: { 'a/b/0': later, 'a/b/1': report } });
  t.same(news.news({ 'a/b/0': report }), { copies: { 'a/b/0': report, 'a/b/1': null } });
});
