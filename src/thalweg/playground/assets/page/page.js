// The page put together: it redraws once per frame after any change of the state.

let due = false;

function refresh() {
  if (due) return;
  due = true;
  requestAnimationFrame(redraw);
}

function redraw() {
  due = false;
  try {
    const now = model();
    if (now.state.view === '3d') drawTurned(element('map'), now);
    else drawMap(element('map'), now);
    drawCharts(now);
    drawNumbers(now);
    drawControls(now);
    describeCharts(now);
    drawTransport(now.state);
    if (!playing) address();
  } catch (error) {
    if (error.name !== 'UsageError' && error.name !== 'ParseError') throw error;
    message(error.message);
  }
}

// The state in the address, so that it can be sent. A page inside another has no address.
let writing = 0; // the timer that waits until the changes are over
function address() {
  clearTimeout(writing);
  if (location.protocol === 'about:') return;
  writing = setTimeout(() => history.replaceState(null, '', thalweg.hash() || location.pathname), 200);
}

// The theme, and all words after the language has changed.
let spoken = '';
function speak() {
  const {lang, theme} = thalweg.state();
  const wanted = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  document.documentElement.dataset.theme = theme === 'auto' ? wanted : theme;
  document.documentElement.lang = lang;
  element('theme').textContent = say(isDark() ? 'light' : 'dark');
  if (spoken === lang) return;
  spoken = lang;
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = say(node.dataset.text);
  for (const node of document.querySelectorAll('[data-label]')) node.setAttribute('aria-label', say(node.dataset.label));
  element('lang').textContent = lang === 'en' ? '한국어' : 'English';
  element('lang').lang = lang === 'en' ? 'ko' : 'en';
  element('story').replaceChildren(new Option(say('noStory'), ''), ...STORIES.map(({id, title}) => new Option(title[LANGUAGES.indexOf(lang)], id)));
  element('save').replaceChildren(new Option(`${say('save')} …`, ''), ...Object.keys(SAVED).map((kind) => new Option(kind, kind)));
  element('speed').replaceChildren(...SPEEDS.map((one) => new Option(`${one} ${say('perSecond')}`, one, one === speed, one === speed)));
  element('places').replaceChildren();
  chooseRules();
}

function tell() {
  const {story, lang} = thalweg.state();
  element('story').value = story;
  const found = STORIES.find(({id}) => id === story);
  element('tale').hidden = !found;
  if (!found) return;
  const k = LANGUAGES.indexOf(lang);
  element('tale').querySelector('h2').textContent = found.title[k];
  element('tale').querySelector('p').textContent = found.text[k];
}

function begin(id) {
  pause();
  message('');
  const {lang, theme} = thalweg.state();
  const story = STORIES.find((one) => one.id === id);
  if (!story) {
    change({story: ''});
    return;
  }
  thalweg.set('');
  change({...story.state, story: id, lang, theme, step: calm() ? story.state.steps : 0});
  speed = SPEEDS.reduce((best, one) => (Math.abs(one - story.state.steps / 5) < Math.abs(best - story.state.steps / 5) ? one : best));
  element('speed').value = speed;
  if (!calm()) play();
}

function bind() {
  const map = element('map');
  let held = null;
  map.onpointerdown = (event) => {
    map.setPointerCapture(event.pointerId);
    map.focus({preventScroll: true});
    held = [event.clientX, event.clientY];
    if (thalweg.state().view === 'map') moveStart(map, event);
  };
  map.onpointermove = (event) => {
    if (!held) return;
    if (thalweg.state().view === 'map') moveStart(map, event);
    else turnBy(event.clientX - held[0], event.clientY - held[1]);
    held = [event.clientX, event.clientY];
  };
  map.onpointerup = map.onpointercancel = () => { held = null; };
  map.onkeydown = moveByKey;
  element('surface').onchange = (event) => change({surface: event.target.value, text: '', start: null, story: ''});
  element('text').oninput = (event) => typedText(event.target.value);
  element('defaults').onclick = () => {
    const {hyper} = thalweg.state();
    change({hyper: Object.fromEntries(Object.entries(hyper).filter(([name]) => name !== activeOf(thalweg.state())))});
  };
  element('component').onclick = () => change({component: thalweg.state().component === 'x' ? 'y' : 'x'});
  element('lang').onclick = () => change({lang: thalweg.state().lang === 'en' ? 'ko' : 'en'});
  element('theme').onclick = () => change({theme: isDark() ? 'light' : 'dark'});
  element('share').onclick = share;
  element('save').onchange = (event) => {
    const kind = event.target.value;
    event.target.value = '';
    SAVED[kind]?.();
  };
  element('race').onclick = raceAll;
  element('story').onchange = (event) => begin(event.target.value);
  element('next').onclick = () => {
    const k = STORIES.findIndex(({id}) => id === thalweg.state().story);
    begin(STORIES[(k + 1) % STORIES.length].id);
  };
  element('controls').onsubmit = (event) => event.preventDefault();
  bindTransport();
}

// A typed function is shown as soon as it can be read; until then its mistake is.
function typedText(text) {
  const found = text.trim() ? thalweg.check(text) : {ok: true};
  element('wrong').textContent = found.ok ? '' : `${found.message} (${say('character')} ${found.position + 1})`;
  if (found.ok && !change({text, start: null, story: ''}).length) message('');
}

// What is shown at first: what a person brought, if anything.
function opening() {
  const step = calm() ? OPENING.steps : 0;
  if (!OWN.rules.length && !OWN.surfaces.length) return {...OPENING, step};
  const [surface] = OWN.surfaces;
  const rules = OWN.rules.length ? [...OWN.rules, 'adam'] : OPENING.rules;
  return {...OPENING, ...(surface && {surface, start: null}), rules, active: rules[0], step};
}

function open() {
  if (navigator.language.startsWith('ko')) thalweg.set({lang: 'ko'});
  const given = location.protocol === 'about:' ? '' : location.hash;
  const {lang} = thalweg.state();
  if (given) change(given.includes('lang=') ? given : `${given}&lang=${lang}`);
  else thalweg.set(opening());
  element('grammar').textContent = thalweg.grammar;
  chooseSurface();
  bind();
  thalweg.onchange(() => {
    speak();
    tell();
    label();
    refresh();
  });
  new ResizeObserver(refresh).observe(element('map'));
  new ResizeObserver(refresh).observe(element('loss'));
  matchMedia('(prefers-color-scheme: dark)').onchange = () => {
    speak();
    refresh();
  };
  window.onhashchange = () => {
    if (location.hash.includes('=')) change(location.hash); // others lead to a part of the page
  };
  speak();
  tell();
  label();
  redraw();
  if (!given && !calm()) play();
  document.documentElement.dataset.ready = 'true';
}

const label = () => element('map').setAttribute('aria-label', say(thalweg.state().view === '3d' ? 'relief' : 'map'));

open();
