// What can be wrong with the page, as plain data. Every <details> is opened first, then all text is looked at.
// What lies in a box that scrolls by itself may be wider than the page.
(() => {
  document.querySelectorAll('details').forEach(each => { each.open = true; });
  const width = document.documentElement.clientWidth;
  const shown = element => element.getClientRects().length > 0;
  const name = element =>
    `${element.tagName}.${element.getAttribute('class')}: ${element.textContent.slice(0, 40)}`;
  const rgb = color => color.match(/[\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = rgb(color).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const parts = rgb(getComputedStyle(at).backgroundColor);
      if (parts.length === 3 || parts[3] === 1) return getComputedStyle(at).backgroundColor;
    }
    return 'rgb(255, 255, 255)';
  };
  const contrast = element => {
    const style = getComputedStyle(element);
    const color = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(color), light(ground(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const texts = [...document.querySelectorAll('body *')].filter(each =>
    shown(each) && each.tagName !== 'title' && !each.matches('.skip')
    && [...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const drawings = [...document.querySelectorAll('svg')];
  const cut = [], crossing = [];
  for (const drawing of drawings) {
    const box = drawing.getBoundingClientRect();
    const inside = [...drawing.querySelectorAll('text')];
    const boxes = inside.map(each => each.getBoundingClientRect());
    boxes.forEach((one, i) => {
      if (one.left < box.left - 1 || one.right > box.right + 1 || one.top < box.top - 1 || one.bottom > box.bottom + 1)
        cut.push(name(inside[i]));
      for (let j = 0; j < i; j++) {
        const other = boxes[j];
        if (Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
            && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 4)
          crossing.push(name(inside[j]) + ' / ' + name(inside[i]));
      }
    });
  }
  return {
    scrollWidth: document.documentElement.scrollWidth,
    innerWidth: innerWidth,
    clientWidth: width,
    background: getComputedStyle(document.body).backgroundColor,
    drawings: drawings.length,
    empty: drawings.map(each => each.getBoundingClientRect())
      .filter(each => !(each.width > 0 && each.height > 0)).length,
    outside: texts.filter(each => !each.closest('.scroll, pre')).filter(each => {
      const box = each.getBoundingClientRect();
      return box.left < 0 || box.right > width + 0.5;
    }).map(name),
    boxes: [...document.querySelectorAll('.scroll, pre')].map(each => each.getBoundingClientRect())
      .filter(each => each.left < 0 || each.right > width + 0.5).length,
    faint: texts.filter(each => contrast(each) < 4.5).map(each => name(each) + ' ' + contrast(each).toFixed(2)),
    cut: cut,
    crossing: crossing,
  };
})()
