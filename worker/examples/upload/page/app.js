import { files } from '/files.js';
import { begin, learn } from '/language.js';

learn({ zh: { title: '文件' }, en: { title: 'Files' } });

const refresh = files(document.getElementById('upload'), document.getElementById('stored'));
begin(document.getElementById('language'), refresh);
refresh();
