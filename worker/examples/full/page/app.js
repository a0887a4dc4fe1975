import { ask } from '/ask.js';
import { enter, leave } from '/chat.js';
import { files } from '/files.js';
import { begin, learn, say } from '/language.js';

learn({
  zh: {
    login: '登录', logout: '退出', username: '用户名', password: '密码', try: '调试模式下的用户：admin、user2 … user8，密码 password',
    profile: '个人信息', users: '用户列表（管理员）', announcement: '广播一条消息', announce: '广播', failed: '没有回答，请重试',
  },
  en: {
    login: 'Log in', logout: 'Log out', username: 'User name', password: 'Password',
    try: 'Users in debug mode: admin, user2 … user8, password "password"',
    profile: 'Profile', users: 'Users (admin)', announcement: 'A message to everybody', announce: 'Send', failed: 'No answer, try again',
  },
});

const at = (id) => document.getElementById(id);
const refresh = files(at('upload'), at('stored'));
let user;

function show() {
  document.body.className = user ? 'in' : 'out';
  if (user) at('who').textContent = `${user.name} (${user.user_id})`;
}

function goOut() {
  if (user) leave();
  user = undefined;
  at('admin').open = false;
  show();
}

async function comeIn() {
  const { status, body } = await ask('GET', '/api/profile');
  if (status !== 200) return goOut();
  user = { user_id: body.user_id, name: body.name };
  show();
  enter(user.name);
  await refresh();
}

at('login').onsubmit = async (event) => {
  event.preventDefault();
  const { status, body } = await ask('POST', '/login', { username: at('username').value, password: at('password').value });
  at('refused').textContent = status === 200 ? '' : body.error ?? say('failed');
  if (status !== 200) return;
  at('password').value = '';
  await comeIn();
};

at('logout').onclick = async () => {
  await ask('POST', '/api/logout');
  goOut();
};

at('admin').ontoggle = async () => {
  if (!at('admin').open) return;
  const { status, body } = await ask('GET', '/api/admin/users');
  at('told').textContent = status === 200 ? '' : body.error ?? say('failed');
  const row = ({ id, username, roles }) =>
    Object.assign(document.createElement('li'), { textContent: `${id} ${username} ${roles.join(', ')}` });
  at('users').replaceChildren(...(status === 200 ? body.data.map(row) : []));
};

at('announce').onsubmit = async (event) => {
  event.preventDefault();
  const { status, body } = await ask('POST', '/broadcast', { message: at('announcement').value });
  at('told').textContent = body.message ?? body.error ?? say('failed');
  if (status === 200) at('announcement').value = '';
};

// The session has ended, in this window or in another one.
window.addEventListener('stranger', () => {
  if (user) goOut();
});
begin(at('language'), () => {
  if (user) refresh();
});
comeIn();
