// What every page has: tables that sort and show that they scroll, explanations that stay, copying,
// downloads, the theme, printing.

function sortable(table, follow = () => {}) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector('button')?.addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => row.cells[column].dataset.v;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      const compared = head.classList.contains('name') ? x.localeCompare(y) : x - y;
      return down ? -compared : compared;
    };
    body.append(...[...body.rows].sort(order));
  }));
  for (const row of body.rows) follow(row, Number(row.dataset.i));
}

// A table that is wider than the page has a shadow on the side where there is more, and says so.
function scrolls(region) {
  const hint = document.createElement('p');
  hint.className = 'more';
  hint.textContent = 'More columns: scroll sideways →';
  region.after(hint);
  const mark = () => {
    const left = region.scrollLeft > 1, right = region.scrollLeft + region.clientWidth < region.scrollWidth - 1;
    region.dataset.more = `${left ? 'left ' : ''}${right ? 'right' : ''}`;
    hint.hidden = !left && !right;
  };
  region.addEventListener('scroll', mark, { passive: true });
  new ResizeObserver(mark).observe(region);
  new ResizeObserver(mark).observe(region.firstElementChild);
}

// Explanations of headings and numbers: where the pointer rests, on focus, and on a tap. They stay
// while the pointer is on them; Escape and a tap elsewhere close them.
function explain() {
  const tip = html(document.body, 'div', 'tip');
  tip.setAttribute('role', 'tooltip');
  tip.id = 'tip';
  tip.hidden = true;
  let of = null, closing = 0;
  function open(node) {
    clearTimeout(closing);
    if (of === node) return;
    of?.removeAttribute('aria-describedby');
    of = node;
    tip.textContent = node.dataset.tip;
    tip.hidden = false;
    const place = node.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(place.left, document.documentElement.clientWidth - own.width - 8));
    const below = place.bottom + 6 + own.height < innerHeight;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(below ? place.bottom + 6 : Math.max(4, place.top - own.height - 6)) + scrollY}px`;
    node.setAttribute('aria-describedby', 'tip');
  }
  function close() {
    clearTimeout(closing);
    of?.removeAttribute('aria-describedby');
    of = null;
    tip.hidden = true;
  }
  const later = () => { closing = setTimeout(close, 200); };
  for (const node of document.querySelectorAll('main [title]:not(svg *)')) {
    if (!node.title) { node.removeAttribute('title'); continue; }
    const holder = node.matches('th') ? node.querySelector('button') ?? node : node;
    holder.dataset.tip = node.title;
    node.removeAttribute('title');
    holder.addEventListener('pointerenter', e => { if (e.pointerType === 'mouse') open(holder); });
    holder.addEventListener('pointerleave', e => { if (e.pointerType === 'mouse') later(); });
    holder.addEventListener('focus', () => { if (holder.matches(':focus-visible')) open(holder); });
    holder.addEventListener('blur', close);
    holder.addEventListener('click', () => open(holder));
  }
  tip.addEventListener('pointerenter', () => clearTimeout(closing));
  tip.addEventListener('pointerleave', later);
  document.addEventListener('keydown', e => { if (e.key === 'Escape') close(); });
  document.addEventListener('pointerdown', e => { if (of && !of.contains(e.target) && !tip.contains(e.target)) close(); });
}

function copies(button) {
  button.addEventListener('click', async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // No clipboard for this page (an older browser, a sandboxed frame): select and copy.
      getSelection().selectAllChildren(code);
      document.execCommand('copy');
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}

function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function toggleTheme() {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  root.dataset.theme = now === 'dark' ? 'light' : 'dark';
  View.keep();
}

View.state('theme', () => document.documentElement.dataset.theme ?? '', theme => {
  if (['light', 'dark'].includes(theme)) document.documentElement.dataset.theme = theme;
});

// A live page is read again. A refresh by its head would not do: with a view in the address that is a
// step within the same document.
function readAgain() {
  const seconds = Number(document.body.dataset.refresh);
  if (seconds) setTimeout(() => location.reload(), 1000 * seconds);
}

function printing() {
  const closed = () => document.querySelectorAll('details:not([open])');
  let opened = [];
  addEventListener('beforeprint', () => { opened = [...closed()]; opened.forEach(d => { d.open = true; }); });
  addEventListener('afterprint', () => opened.forEach(d => { d.open = false; }));
}

function conveniences() {
  document.querySelectorAll('.scroll').forEach(scrolls);
  document.querySelectorAll('.copy').forEach(copies);
  $('theme').addEventListener('click', toggleTheme);
  explain();
  printing();
  readAgain();
  document.body.dataset.ready = '';
}
