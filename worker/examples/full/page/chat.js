// The chat of the page. The server knows by the session who speaks; a message is shown when it comes back.

import { learn, say } from '/language.js';

learn({
  zh: { chat: '聊天', say: '说点什么', send: '发送', here: '已连接', away: '正在连接 …', server: '系统' },
  en: { chat: 'Chat', say: 'Say something', send: 'Send', here: 'connected', away: 'connecting …', server: 'system' },
});

// For whoever watches from outside: the number of connections, the workers that have served them, and what was heard.
window.chat = { sockets: 0, served: [], said: [] };

const lines = document.getElementById('lines');
const state = document.getElementById('state');
const text = document.getElementById('text');
let socket, name, again, wait;

function show(key) {
  state.className = `inside ${key === 'here' ? 'on' : ''}`;
  state.dataset.text = key;
  state.textContent = say(key);
}

function add({ user_id: who, message }) {
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 60;
  const item = document.createElement('li');
  const by = document.createElement('b');
  item.className = who === name ? 'mine' : who ? '' : 'note';
  by.textContent = who || say('server');
  item.append(by, message);
  lines.append(item);
  if (atEnd) lines.scrollTop = lines.scrollHeight;
  window.chat.said.push(message);
}

// Another worker may take over the connection, which stays open meanwhile.
function servedBy({ pid, generation }) {
  window.chat.served.push({ pid, generation });
  state.title = generation === null ? `pid ${pid}` : `generation ${generation}, pid ${pid}`;
}

function connect() {
  const own = new WebSocket(`${location.protocol.replace('http', 'ws')}//${location.host}/ws?format=json`);
  socket = own;
  window.chat.sockets++;
  own.onopen = () => {
    wait = 250;
    show('here');
  };
  own.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.served_by) servedBy(told.served_by);
    else add(told);
  };
  own.onclose = () => {
    if (socket !== own) return;
    show('away');
    again = setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8000);
  };
}

// Comes in, as the user of this name.
export function enter(user) {
  [name, wait] = [user, 250];
  lines.replaceChildren();
  window.chat = { sockets: 0, served: [], said: [] };
  show('away');
  connect();
}

export function leave() {
  const own = socket;
  socket = undefined;
  clearTimeout(again);
  own?.close();
}

document.getElementById('form').onsubmit = (event) => {
  event.preventDefault();
  // What cannot be sent stays in the field.
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(text.value);
  text.value = '';
};
