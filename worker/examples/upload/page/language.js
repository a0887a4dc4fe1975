// Texts of a page in Chinese and English. The first choice is the browser's, which it sends as Accept-Language, too; the button of the
// page changes it. `words` is a table of texts: {zh: {title: '..'}, en: {title: '..'}}.

const KEPT = 'language';
const tables = { zh: {}, en: {} };

export let language = localStorage.getItem(KEPT) ?? (navigator.language.startsWith('en') ? 'en' : 'zh');

export function learn(words) {
  for (const each of Object.keys(tables)) Object.assign(tables[each], words[each]);
}

export function say(key) {
  return tables[language][key] ?? key;
}

// Writes its text into each element that names one.
export function translate(root = document) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll('[data-text]')) element.textContent = say(element.dataset.text);
  for (const element of root.querySelectorAll('[data-hint]')) element.placeholder = say(element.dataset.hint);
}

// `changed` is called after each change, for what the page has written by itself.
export function begin(button, changed = () => {}) {
  const show = () => {
    button.textContent = language === 'zh' ? 'English' : '中文';
    translate();
  };
  button.onclick = () => {
    language = language === 'zh' ? 'en' : 'zh';
    localStorage.setItem(KEPT, language);
    show();
    changed();
  };
  show();
}
