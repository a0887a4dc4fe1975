// A part of a page: uploads with their progress, and the list of files. `upload` and `full` show it.

import { ask, send } from '/ask.js';
import { language, learn, say, translate } from '/language.js';

learn({
  zh: {
    upload: '上传', choose: '选择文件，或把文件拖到这里', rules: '',
    files: '文件', none: '还没有文件', failed: '没有回答，请重试',
  },
  en: {
    upload: 'Upload', choose: 'Choose files, or drop them here', rules: '',
    files: 'Files', none: 'No files yet', failed: 'No answer, try again',
  },
});

// For whoever watches from outside: what progress was told, by name.
window.progress = {};

const units = ['B', 'KB', 'MB', 'GB'];

export function size(bytes) {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

// Which files are taken: the service's configuration says it.
async function learnRules() {
  const { status, body } = await ask('GET', '/rules');
  if (status !== 200) return;
  const limit = size(body.file).replace('.0 ', ' ');
  learn({
    zh: { rules: `${body.allow.join('、')}，每个文件最大 ${limit}` },
    en: { rules: `${body.allow.join(', ')}, each of at most ${limit}` },
  });
  translate();
}

function element(name, parts = {}, ...children) {
  const made = Object.assign(document.createElement(name), parts);
  made.append(...children);
  return made;
}

function text(name, key) {
  const made = element(name);
  made.dataset.text = key;
  return made;
}

async function upload(file, rows, done) {
  const bar = element('progress', { value: 0, max: 1 });
  const told = element('span', { className: 'told' });
  const row = element('li', {}, element('b', { textContent: file.name }), ` ${size(file.size)} `, bar, told);
  rows.prepend(row);
  window.progress[file.name] = [];
  const { status, body } = await send(file, (part) => {
    bar.value = part;
    window.progress[file.name].push(part);
  });
  row.className = status === 200 ? 'done' : 'refused';
  told.textContent = body.message ?? body.error ?? say('failed');
  if (status === 200) done();
}

function uploader(into, done) {
  const input = element('input', { type: 'file', id: 'file', multiple: true });
  const rows = element('ul', { id: 'uploads' });
  const drop = element('label', { className: 'drop' }, text('span', 'choose'), text('small', 'rules'), input);
  // One after the other: several at once only share the same line.
  const take = async (files) => {
    for (const file of files) await upload(file, rows, done);
  };
  input.onchange = async () => {
    await take([...input.files]);
    input.value = '';
  };
  drop.ondragover = (event) => {
    event.preventDefault();
    drop.classList.add('over');
  };
  drop.ondragleave = () => drop.classList.remove('over');
  drop.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    take([...event.dataTransfer.files]);
  };
  into.replaceChildren(text('h2', 'upload'), drop, rows);
}

function entry({ filename, size: bytes, modified, download_url: url }) {
  const time = new Date(modified).toLocaleString(language === 'zh' ? 'zh-CN' : 'en');
  const link = element('a', { href: url, textContent: filename });
  return element('li', {}, link, element('small', { textContent: `${size(bytes)} · ${time}` }));
}

function lister(into) {
  const list = element('ul', { id: 'files' });
  into.replaceChildren(text('h2', 'files'), list);
  return async () => {
    const { status, body } = await ask('GET', '/files');
    if (status !== 200) return;
    const entries = body.data.map(entry);
    list.replaceChildren(...(entries.length ? entries : [text('li', 'none')]));
    translate(list);
  };
}

// Shows uploads and files in these elements. Returns the function that reads the list again.
export function files(uploads, stored) {
  const refresh = lister(stored);
  uploader(uploads, refresh);
  learnRules();
  return refresh;
}
