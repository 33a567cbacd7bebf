// What is looked at, in the address: #view&curve=train_loss&curves.x=10,200, so that a link or a
// bookmark shows the same. A page that is opened anew, as a live one is, keeps its view.

const View = (() => {
  const zooms = new Map();
  const other = new Map(); // name -> { get, set }: states that are no controls
  let usual = {};

  const controls = () => [...document.querySelectorAll('main select[id], main input[type=range], main input[type=checkbox][id], main input[type=radio]')];
  const nameOf = node => node.type === 'radio' ? node.name : node.id;
  const valueOf = node => node.type === 'checkbox' ? String(Number(node.checked)) : node.value;

  function values() {
    const found = {};
    for (const node of controls()) if (node.type !== 'radio' || node.checked) found[nameOf(node)] = valueOf(node);
    for (const [name, { get }] of other) found[name] = get();
    return found;
  }

  function asked() {
    return /^#view(&|$)/.test(location.hash) ? new URLSearchParams(location.hash.slice(1)) : null;
  }

  function keep() {
    const now = values(), parts = ['view'];
    for (const name in now) {
      if (now[name] !== usual[name]) parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(now[name])}`);
    }
    for (const [chart, zoom] of zooms) {
      for (const axis of ['x', 'y']) if (zoom[axis]) parts.push(`${chart}.${axis}=${zoom[axis].map(v => Number(v.toPrecision(5))).join(',')}`);
    }
    const hash = parts.length > 1 ? `#${parts.join('&')}` : '';
    if (hash !== (asked() ? location.hash : '')) history.replaceState(null, '', hash || location.href.replace(/#.*$/, ''));
  }

  // Only what a control offers is taken from an address; anything else in it is disregarded.
  function take() {
    const wanted = asked();
    if (!wanted) return;
    for (const node of controls()) {
      const value = wanted.get(nameOf(node)) ?? usual[nameOf(node)];
      if (node.type === 'radio') node.checked = node.value === value || (node.checked && ![...document.getElementsByName(node.name)].some(n => n.value === value));
      else if (node.type === 'checkbox') node.checked = value === '1';
      else if (node.tagName === 'SELECT') { if ([...node.options].some(o => o.value === value)) node.value = value; }
      else if (value !== undefined && finite(Number(value))) node.value = value; // within its bounds
    }
    for (const [name, { set }] of other) set(wanted.get(name) ?? usual[name]);
    zooms.clear();
    for (const [key, text] of wanted) {
      const [, chart, axis] = /^([a-z0-9-]+)\.([xy])$/.exec(key) ?? [];
      const ends = text.split(',').map(Number);
      if (chart && ends.length === 2 && ends.every(finite) && ends[0] < ends[1]) zooms.set(chart, { ...zooms.get(chart), [axis]: ends });
    }
  }

  return {
    zoom: chart => zooms.get(chart) ?? {},
    setZoom(chart, zoom) { if (zoom.x || zoom.y) zooms.set(chart, zoom); else zooms.delete(chart); keep(); },
    state(name, get, set) { other.set(name, { get, set }); },
    // After all controls are there: remember their usual values, then take those of the address.
    start(redraw) {
      usual = values();
      take();
      addEventListener('hashchange', () => { if (asked()) { take(); redraw(); } });
      document.addEventListener('change', keep);
    },
    keep,
  };
})();
