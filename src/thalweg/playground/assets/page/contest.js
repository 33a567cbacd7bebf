// A race of all rules on the surface that is shown.

let contest = null; // the AbortController of the race that runs

async function raceAll() {
  if (contest) {
    contest.abort(new DOMException('stopped', 'AbortError'));
    return;
  }
  contest = new AbortController();
  const {state, surface} = model();
  const {steps, noise, seed, schedule, batch, transforms, hyper} = state;
  const bar = element('progress');
  bar.hidden = false;
  element('race').textContent = say('stop');
  try {
    const fixed = Object.fromEntries(Object.entries(hyper).map(([rule, {lr, ...rest}]) => [rule, rest]));
    const result = await thalweg.race({
      surface: groundOf(state), start: state.start ?? undefined, steps, noise, seed, schedule, transforms,
      hyper: fixed, batch: surface.samples ? Math.min(batch, surface.samples) : 0,
      rules: [...RULE.values()].filter((rule) => isOwn(rule) || GROUPS[0][1](rule)).map(({name}) => name),
    }, {progress: (done, all) => { bar.value = done / all; }, signal: contest.signal});
    drawPlaces(result);
  } catch (error) {
    if (error.name === 'UsageError') message(error.message);
    else if (error.name !== 'AbortError') throw error;
  } finally {
    contest = null;
    bar.hidden = true;
    element('race').textContent = say('race');
  }
}

function drawPlaces({places}) {
  const heads = ['place', 'optimizer', 'rate', 'toTarget', 'value'].map((key) => made('th', {scope: 'col', textContent: say(key)}));
  const rows = places.map(({rule, lr, steps, loss, diverged_at: ended, at_edge: edge}, k) => {
    const button = made('button', {type: 'button', textContent: say('show')});
    button.setAttribute('aria-label', `${say('show')} ${rule}`);
    button.onclick = () => {
      const {rules, hyper} = thalweg.state();
      const settings = lr === null ? hyper : {...hyper, [rule]: {...hyper[rule], lr}};
      change({rules: [...rules.filter((one) => one !== rule), rule].slice(-6), active: rule, hyper: settings, step: 0, story: ''});
      element('map').scrollIntoView({block: 'nearest', behavior: calm() ? 'auto' : 'smooth'});
    };
    const first = made('td', {textContent: ended === null ? k + 1 : '–'});
    const name = made('td', {}, made('label', {}, swatch(rule), rule));
    const rate = made('td', {textContent: `${figure(lr)}${edge ? ' *' : ''}`, title: edge ? say('atEdge') : ''});
    const rest = [steps ?? '–', ended === null ? figure(loss) : `${say('ended')} ${ended}`].map((textContent) => made('td', {textContent}));
    return made('tr', {}, first, name, rate, ...rest, made('td', {}, button));
  });
  const star = places.some((one) => one.at_edge) ? [made('caption', {className: 'note', textContent: `* ${say('atEdge')}`})] : [];
  element('places').replaceChildren(...star, made('thead', {}, made('tr', {}, ...heads, made('th', {}, made('span', {className: 'hidden', textContent: say('show')})))), made('tbody', {}, ...rows));
}
