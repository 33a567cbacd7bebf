const TAP = 5; // px that a pointer may move in a tap

// The pointer on a chart: it reads values where it rests or taps, and chooses a part by dragging. What
// a finger has tapped stays until it taps elsewhere.
function Brush(root, on) {
  let from = null, dragged = false;
  root.addEventListener('pointerdown', event => {
    if (event.button) return;
    on.read(on.place(event));
    if (!on.ready()) return;
    from = on.place(event);
    dragged = false;
  });
  root.addEventListener('pointermove', event => {
    const to = on.place(event);
    if (!from) { if (event.pointerType !== 'touch') on.read(to); return; }
    if (!dragged && Math.hypot(to.x - from.x, to.y - from.y) < TAP) return;
    if (!dragged) root.setPointerCapture(event.pointerId);
    dragged = true;
    on.show(from, to, event.pointerType === 'mouse' && Math.abs(to.y - from.y) > 24);
  });
  const end = kept => () => {
    if (from && dragged) { if (kept) on.choose(); else on.cancel(); }
    from = null;
  };
  root.addEventListener('pointerup', end(true));
  root.addEventListener('pointercancel', end(false));
  root.addEventListener('pointerleave', event => { if (event.pointerType !== 'touch' && !from) on.leave(); });
  document.addEventListener('pointerdown', event => { if (!root.contains(event.target)) on.leave(); });
}
