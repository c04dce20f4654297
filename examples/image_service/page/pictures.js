// Uploads and the gallery.

const $ = (selector, within = document) => within.querySelector(selector);

function make(tag, text = '', properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.textContent = text;
  return element;
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// --- uploads ---

const atOnce = 3;
const waiting = [];
let running = 0;

function enqueue(name, bytes, send) {
  const item = make('li');
  item.append(make('b', name, { title: name }), make('span', 'waiting'), make('progress', '', { max: 1, value: 0 }));
  $('#uploads').prepend(item);
  waiting.push(() => run(item, bytes, send));
  next();
}

function next() {
  while (running < atOnce && waiting.length > 0) {
    running++;
    waiting.shift()().finally(() => { running--; next(); });
  }
}

function say(item, state, text) {
  item.dataset.state = state;
  $('span', item).textContent = text;
}

async function run(item, bytes, send) {
  for (let tries = 1;; tries++) {
    const answer = await send(item, bytes);
    if (answer.status === 503 && tries < 20) {  // too much to do just now: it says when to come again
      const seconds = answer.retry || 1;
      say(item, 'waiting', `busy, again in ${seconds} s`);
      $('progress', item).value = 0;
      await sleep(seconds * 1000);
      continue;
    }
    if (answer.status === 200 || answer.status === 201) {
      const picture = answer.body;
      say(item, 'done', answer.status === 201 ? `done, ${picture.width} × ${picture.height}` : 'was here already');
      show(picture, true);
    } else {
      say(item, 'failed', 'failed');
      item.append(make('p', answer.body?.error ?? (answer.status ? `the service answers ${answer.status}` : 'the connection broke')));
    }
    return;
  }
}

// XMLHttpRequest, for fetch() does not tell how much has been sent.
function post(target, body, item) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    const bar = $('progress', item);
    request.upload.onprogress = (event) => {
      bar.value = event.loaded / event.total;
      say(item, 'sending', `${Math.floor(100 * bar.value)} % of ${size(event.total)}`);
    };
    request.upload.onload = () => {
      bar.removeAttribute('value');  // nobody knows how long it takes
      say(item, 'working', 'resizing');
    };
    request.onloadend = () => {
      let parsed = null;
      try { parsed = JSON.parse(request.responseText); } catch { /* no answer of ours */ }
      done({ status: request.status, body: parsed, retry: Number(request.getResponseHeader('Retry-After')) });
    };
    request.open('POST', target);
    request.send(body);
  });
}

function upload(files) {
  for (const file of files)
    enqueue(file.name, file, (item) => post(`/pictures?name=${encodeURIComponent(file.name)}`, file, item));
}

$('#files').addEventListener('change', (event) => {
  upload(event.target.files);
  event.target.value = '';
});

$('#fetch').addEventListener('submit', (event) => {
  event.preventDefault();
  const url = $('#url').value;
  $('#url').value = '';
  enqueue(url, null, (item) => {
    $('progress', item).removeAttribute('value');
    say(item, 'working', 'fetching');
    return post(`/pictures?url=${encodeURIComponent(url)}`, null, item);
  });
});

// The whole page takes what is dropped.
let depth = 0;  // entering a child comes before leaving its parent
addEventListener('dragenter', () => { depth++; document.body.classList.add('dragging'); });
addEventListener('dragleave', () => { if (--depth === 0) document.body.classList.remove('dragging'); });
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove('dragging');
  upload(event.dataTransfer.files);
});

// --- the gallery ---

const version = (picture, name) => picture.versions.find((v) => v.name === name);

function show(picture, isNew) {
  $('#none').hidden = true;
  const there = document.getElementById(picture.id);
  if (there && !isNew) return;
  there?.remove();
  const thumb = version(picture, 'thumb');
  const card = make('button', '', { id: picture.id, title: picture.name, className: isNew ? 'new' : '' });
  card.append(
    make('img', '', { src: thumb.url, alt: picture.name, loading: 'lazy', width: thumb.width, height: thumb.height }),
    make('b', picture.name),
    make('small', `${picture.width} × ${picture.height}, ${size(picture.bytes)}`));
  card.addEventListener('click', () => view(picture));
  isNew ? $('#gallery').prepend(card) : $('#gallery').append(card);
}

function view(picture) {
  const viewer = $('#viewer');
  Object.assign($('img', viewer), { src: version(picture, 'large').url, alt: picture.name });
  $('p', viewer).textContent =
      `${picture.name}: ${picture.width} × ${picture.height} pixels, ${size(picture.bytes)}, ` +
      new Date(picture.added_ms).toLocaleString();
  const links = [...picture.versions, { ...picture, name: 'original', url: picture.original }];
  $('nav', viewer).replaceChildren(...links.map((v) => make('a', `${v.name} ${v.width} × ${v.height}, ${size(v.bytes)}`,
                                                            { href: v.url, target: '_blank' })));
  viewer.showModal();
}
$('#viewer button').addEventListener('click', () => $('#viewer').close());
$('#viewer').addEventListener('click', (event) => { if (event.target === $('#viewer')) $('#viewer').close(); });

let after = '';
async function more() {
  const answer = await fetch(`/pictures?after=${encodeURIComponent(after)}`);
  if (!answer.ok) return;
  const page = await answer.json();
  page.pictures.forEach((picture) => show(picture, false));
  $('#none').hidden = $('#gallery').childElementCount > 0;
  after = page.next;
  $('#more').hidden = !after;
}
$('#more').addEventListener('click', more);
more();
