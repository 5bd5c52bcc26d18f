// Objects, virtual calls, maps, strings and closures. AssemblyScript with its garbage-collected runtime.

@external("host", "next")
declare function next(x: u32): u32;

abstract class Shape {
  abstract area(): f64;
  scaled(by: f64): f64 {
    return this.area() * by * by;
  }
}

class Square extends Shape {
  constructor(public side: f64) {
    super();
  }
  area(): f64 {
    return this.side * this.side;
  }
}

class Circle extends Shape {
  constructor(public radius: f64) {
    super();
  }
  area(): f64 {
    return 3.0 * this.radius * this.radius;
  }
}

class Triangle extends Shape {
  constructor(public base: f64, public height: f64) {
    super();
  }
  area(): f64 {
    return (this.base * this.height) / 2.0;
  }
}

/** Areas of shapes that the host chooses: virtual calls. */
export function areas(n: u32): u64 {
  const shapes = new Array<Shape>();
  for (let i: u32 = 0; i < n; i++) {
    const x = next(i);
    const size = <f64>((x >> 8) & 0xff);
    if (x % 3 == 0) shapes.push(new Square(size));
    else if (x % 3 == 1) shapes.push(new Circle(size));
    else shapes.push(new Triangle(size, <f64>((x >> 16) & 0xff)));
  }
  let sum: f64 = 0;
  for (let i = 0; i < shapes.length; i++) sum += shapes[i].scaled(<f64>(i & 3));
  return <u64>sum;
}

/** Counts words of a text that is made while the host is awaited: strings and a map. */
export function words(n: u32): u64 {
  let text = "";
  for (let i: u32 = 0; i < n; i++) {
    const x = next(i);
    const length: u32 = 1 + (x % 2);
    for (let j: u32 = 0; j < length; j++) {
      text += String.fromCharCode(97 + ((x >> (8 + 2 * j)) & 3));
    }
    text += " ";
  }
  const counts = new Map<string, u32>();
  const found = text.split(" ");
  for (let i = 0; i < found.length; i++) {
    const word = found[i];
    if (word.length == 0) continue;
    counts.set(word, counts.has(word) ? counts.get(word) + 1 : 1);
  }
  const keys = counts.keys();
  keys.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  let sum: u64 = 0;
  for (let i = 0; i < keys.length; i++) {
    const word = keys[i];
    for (let j = 0; j < word.length; j++) sum = sum * 31 + word.charCodeAt(j);
    sum = sum * 1000003 + counts.get(word);
  }
  return sum;
}

/** Garbage in a loop: most of it is collected. */
export function garbage(n: u32): u64 {
  let kept: Array<u32> = [];
  let sum: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const list = new Array<u32>();
    for (let j: u32 = 0; j < 20; j++) list.push(i * j);
    if (i % 16 == 0) {
      kept = list.map<u32>((x) => x + (next(x) % 10));
    }
    sum = sum * 31 + list.reduce<u32>((a, b) => a + b, 0) + kept[<i32>(i % 20)];
  }
  return sum;
}
