// The runtime, as the server tells of it twice a second.

const points = 120;  // a minute
const history = [];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (share) => `${Math.round(100 * share)} %`;
const time = (ms) => (ms === null ? '–' : ms < 1 ? `${Math.round(1000 * ms)} µs`
  : ms < 999.5 ? `${ms.toPrecision(3)} ms` : `${(ms / 1000).toFixed(1)} s`);

const charts = {
  rate: {
    title: 'Requests a second', most: 10,
    series: [{ name: 'answered', of: (e) => e.requests, text: (v) => v.toFixed(0) }],
  },
  latency: {
    title: 'Small requests take', most: 1, unit: 'ms',
    series: [{ name: 'p50', of: (e) => e.p50, text: time }, { name: 'p99', of: (e) => e.p99, text: time }],
  },
  load: {
    title: 'Load', most: 1, fixed: true,
    series: [
      { name: 'loops', of: (e) => e.loops, text: percent },
      { name: 'CPU pool', of: (e) => e.pool, text: percent },
      { name: 'CPU queue', of: (e) => e.queued / e.queue_limit,
        text: (_, e) => `${e.queued} of ${e.queue_limit}${e.refusing ? ', refusing' : ''}` },
    ],
  },
};

for (const [name, chart] of Object.entries(charts)) {
  const figure = document.querySelector(`[data-chart=${name}]`);
  chart.canvas = figure.querySelector('canvas');
  const title = Object.assign(document.createElement('b'), { textContent: chart.title });
  chart.labels = chart.series.map((_, i) =>
    Object.assign(document.createElement('span'), { className: `series-${i + 1}` }));
  figure.querySelector('figcaption').append(title, ...chart.labels);
}

// The next of 1, 2, 5, 10, ...
function round(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 2, 5, 10].find((n) => n * unit >= value * 0.9999);
}

function draw(chart) {
  const { canvas } = chart;
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const to = canvas.getContext('2d');
  to.setTransform(scale, 0, 0, scale, 0, 0);
  to.clearRect(0, 0, width, height);

  const values = chart.series.map((s) => history.map(s.of));
  const top = chart.fixed ? chart.most : round(Math.max(chart.most / 10, ...values.flat().map((v) => v ?? 0)));
  const y = (v) => 4 + (height - 8) * (1 - Math.min(1, v / top));
  const x = (i) => width * (1 - (history.length - 1 - i) / (points - 1));

  to.strokeStyle = css('--line');
  to.fillStyle = css('--faint');
  to.font = '10.5px system-ui, sans-serif';
  to.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    to.beginPath();
    to.moveTo(0, Math.round(y(top * share)) + 0.5);
    to.lineTo(width, Math.round(y(top * share)) + 0.5);
    to.stroke();
  }
  const label = chart.fixed ? percent(top) : `${Number(top.toPrecision(2))}${chart.unit ? ` ${chart.unit}` : ''}`;
  to.fillText(label, 2, y(top) + 12);

  values.forEach((line, n) => {
    to.strokeStyle = to.fillStyle = css(`--series-${n + 1}`);
    to.lineWidth = 1.8;
    to.lineJoin = 'round';
    // A null parts the line: nothing was asked then.
    for (let from = 0; from < line.length;) {
      if (line[from] === null) { from++; continue; }
      let end = from;
      to.beginPath();
      for (; end < line.length && line[end] !== null; end++) to.lineTo(x(end), y(line[end]));
      if (end === from + 1) to.arc(x(from), y(line[from]), 1, 0, 7);
      to.stroke();
      if (n === 0 && end > from + 1) {
        to.lineTo(x(end - 1), height - 4);
        to.lineTo(x(from), height - 4);
        to.globalAlpha = 0.12;
        to.fill();
        to.globalAlpha = 1;
      }
      from = end;
    }
  });
}

function show(event) {
  history.push(event);
  if (history.length > points) history.shift();
  for (const chart of Object.values(charts)) {
    chart.series.forEach((s, i) => {
      const value = s.of(event);
      chart.labels[i].textContent = `${s.name} ${value === null ? '–' : s.text(value, event)}`;
    });
    chart.canvas.setAttribute('aria-label', chart.labels.map((l) => l.textContent).join(', '));
    draw(chart);
  }
  const counts = {
    loops: event.loop_count, 'CPU workers': event.workers, tasks: event.tasks, 'pictures made': event.pictures,
    'a picture takes': time(event.picture_ms), 'waited for a worker': time(event.queued_ms),
    refused: event.refused,
  };
  document.querySelector('#counts').replaceChildren(...Object.entries(counts).map(([name, value]) => {
    const pair = document.createElement('div');
    pair.append(Object.assign(document.createElement('dt'), { textContent: name }),
                Object.assign(document.createElement('dd'), { textContent: value }));
    return pair;
  }));
}

function redraw() {
  Object.values(charts).forEach(draw);
}
addEventListener('resize', redraw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
redraw();

const state = document.querySelector('#state');
function tell(what, text) {
  state.dataset.state = what;
  state.textContent = text;
}

// It comes again by itself when the connection breaks.
const events = new EventSource('/events');
events.onopen = () => tell('live', 'live');
events.onerror = () => tell('lost', 'the server is away');
events.onmessage = (message) => show(JSON.parse(message.data));

// Small requests, so that there is something to measure: they ought to stay fast whatever the pictures do.
const knock = document.querySelector('#knock');
let under_way = 0;
setInterval(async () => {
  if (!knock.checked || document.hidden || under_way > 4 || state.dataset.state !== 'live') return;
  under_way++;
  try { await fetch('/ping', { cache: 'no-store' }); } catch { /* the events tell */ }
  under_way--;
}, 50);
