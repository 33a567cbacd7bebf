// Playing the paths step by step.

const SPEEDS = [5, 15, 30, 60, 120, 300];
let playing = null; // {from, step} while it plays: the time and the step at which it began
let speed = 30;

function play() {
  const {step, steps} = thalweg.state();
  playing = {from: performance.now(), step: step >= steps ? 0 : step};
  requestAnimationFrame(tick);
  drawTransport();
}

function pause() {
  playing = null;
  drawTransport();
}

function tick(time) {
  if (!playing) return;
  const {steps} = thalweg.state();
  const step = Math.min(steps, Math.max(0, Math.floor(playing.step + (time - playing.from) / 1000 * speed)));
  thalweg.set({step});
  if (step >= steps) pause();
  else requestAnimationFrame(tick);
}

function goTo(step) {
  playing = null;
  const {steps} = thalweg.state();
  thalweg.set({step: Math.max(0, Math.min(steps, step))});
  drawTransport();
}

function drawTransport({step, steps, view, arrows} = thalweg.state()) {
  const slider = element('step');
  slider.max = steps;
  slider.value = step;
  element('at').textContent = `${Math.min(step, steps)} / ${steps}`;
  element('go').textContent = say(playing ? 'pause' : 'go');
  element('turned').setAttribute('aria-pressed', view === '3d');
  element('arrows').setAttribute('aria-pressed', arrows === 'on');
}

function bindTransport() {
  element('go').onclick = () => (playing ? pause() : play());
  element('first').onclick = () => goTo(0);
  element('back').onclick = () => goTo(thalweg.state().step - 1);
  element('on').onclick = () => goTo(thalweg.state().step + 1);
  element('step').oninput = (event) => goTo(Number(event.target.value));
  element('turned').onclick = () => change({view: thalweg.state().view === '3d' ? 'map' : '3d'});
  element('arrows').onclick = () => change({arrows: thalweg.state().arrows === 'on' ? 'off' : 'on'});
  element('speed').onchange = (event) => {
    speed = Number(event.target.value);
    if (playing) play();
  };
}
