//! Modules at, and beyond, the limits of what engines accept.

/// A module that is extreme in one way.
pub(super) struct Extreme {
    pub(super) name: &'static str,
    pub(super) valid: bool,
    pub(super) wasm: Vec<u8>,
}

/// A number in LEB128.
fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn size(n: usize) -> Vec<u8> {
    leb(u64::try_from(n).expect("64 bits are enough"))
}

/// A section of so many items, each with these bytes.
fn section(id: u8, count: usize, items: &[u8]) -> Vec<u8> {
    let count = size(count);
    let mut section = vec![id];
    section.extend(size(count.len() + items.len()));
    section.extend(count);
    section.extend_from_slice(items);
    section
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(sections.iter().flatten());
    module
}

fn name(text: &str) -> Vec<u8> {
    let mut bytes = size(text.len());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// `run: [] -> []`, of these locals (as written) and this code, without its `end`.
fn run_of(locals: &[u8], code: &[u8]) -> Vec<u8> {
    run_typed(&[0x60, 0, 0], locals, code)
}

fn run_typed(ty: &[u8], locals: &[u8], code: &[u8]) -> Vec<u8> {
    let mut body = locals.to_vec();
    body.extend_from_slice(code);
    body.push(0x0b);
    let mut sized = size(body.len());
    sized.extend(body);
    module(&[
        section(1, 1, ty),
        section(3, 1, &[0]),
        section(7, 1, &[name("run"), vec![0, 0]].concat()),
        section(10, 1, &sized),
    ])
}

fn repeated(item: &[u8], times: usize) -> Vec<u8> {
    item.repeat(times)
}

const NO_LOCALS: &[u8] = &[0];
const I32: u8 = 0x7f;
const EMPTY: u8 = 0x40;

/// So many locals of one type, as a function's head declares them.
fn locals(n: usize) -> Vec<u8> {
    [vec![1], size(n), vec![I32]].concat()
}

pub(super) fn all() -> Vec<Extreme> {
    let mut all = many_items();
    all.extend(large_bodies());
    all.extend(large_state());
    all
}

fn many_items() -> Vec<Extreme> {
    const MANY: usize = 1_000_000;
    let ty = section(1, 1, &[0x60, 0, 0]);
    let functions = |n: usize| {
        module(&[
            ty.clone(),
            section(3, n, &repeated(&[0], n)),
            section(10, n, &repeated(&[2, 0, 0x0b], n)),
        ])
    };
    let exports = |n: usize| {
        let exports: Vec<u8> = (0..n)
            .flat_map(|n| [name(&n.to_string()), vec![0, 0]].concat())
            .collect();
        module(&[
            ty.clone(),
            section(3, 1, &[0]),
            section(7, n, &exports),
            section(10, 1, &[2, 0, 0x0b]),
        ])
    };
    let imports = |n: usize| {
        let import = [name("m"), name("n"), vec![0, 0]].concat();
        module(&[ty.clone(), section(2, n, &repeated(&import, n))])
    };
    let types = |n: usize| module(&[section(1, n, &repeated(&[0x60, 0, 0], n))]);
    let globals = |n: usize| module(&[section(6, n, &repeated(&[I32, 1, 0x41, 7, 0x0b], n))]);
    let elements = |n: usize| {
        // passive, no functions each
        module(&[section(9, n, &repeated(&[1, 0, 0], n))])
    };
    let data = |n: usize| module(&[section(11, n, &repeated(&[1, 0], n))]);
    let valid = |name, wasm| Extreme {
        name,
        valid: true,
        wasm,
    };
    vec![
        valid("1,000,000 functions", functions(MANY)),
        Extreme {
            name: "1,000,001 functions",
            valid: false,
            wasm: functions(MANY + 1),
        },
        valid("1,000,000 types", types(MANY)),
        Extreme {
            name: "1,000,001 types",
            valid: false,
            wasm: types(MANY + 1),
        },
        valid("400,000 exports", exports(400_000)),
        valid("400,000 imports", imports(400_000)),
        valid("1,000,000 globals", globals(MANY)),
        valid("100,000 element segments", elements(100_000)),
        valid("100,000 data segments", data(100_000)),
        Extreme {
            name: "4,294,967,295 functions that are not there",
            valid: false,
            wasm: module(&[ty.clone(), section(3, 0xffff_ffff, &[0])]),
        },
        Extreme {
            name: "4,294,967,295 types that are not there",
            valid: false,
            wasm: module(&[section(1, 0xffff_ffff, &[0x60, 0, 0])]),
        },
        Extreme {
            name: "a name of 4,294,967,295 bytes that are not there",
            valid: false,
            wasm: module(&[section(2, 1, &leb(0xffff_ffff))]),
        },
    ]
}

fn large_bodies() -> Vec<Extreme> {
    let valid = |name, wasm| Extreme {
        name,
        valid: true,
        wasm,
    };
    let nested = |open: &[u8], n: usize| {
        run_of(
            NO_LOCALS,
            &[repeated(open, n), repeated(&[0x0b], n)].concat(),
        )
    };
    let targets = {
        let mut code = vec![0x02, EMPTY, 0x41, 0, 0x0e];
        code.extend(size(100_000));
        code.extend(repeated(&[0], 100_001));
        code.push(0x0b);
        run_of(NO_LOCALS, &code)
    };
    let wide = |n: usize| {
        let types = [
            vec![0x60],
            size(n),
            repeated(&[I32], n),
            size(n),
            repeated(&[I32], n),
        ]
        .concat();
        let code: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20], size(n)].concat())
            .collect();
        run_typed(&types, NO_LOCALS, &code)
    };
    let assignments = |n: usize| {
        let code: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x41, 5, 0x21], size(n)].concat())
            .collect();
        run_of(&locals(n), &code)
    };
    let loops = |n: usize| {
        // a local counts down to zero in each
        let one = [
            0x41, 2, 0x21, 0, 0x03, EMPTY, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b,
        ];
        run_of(&locals(1), &repeated(&one, n))
    };
    let diamonds = |n: usize| {
        let one = [
            0x20, 0, 0x04, EMPTY, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0, 0x05, 0x41, 3, 0x21, 1, 0x0b,
        ];
        run_of(&locals(2), &repeated(&one, n))
    };
    let calls = |n: usize| {
        // guarded by a condition that never holds
        let code = [
            vec![0x41, 0, 0x04, EMPTY],
            repeated(&[0x10, 0], n),
            vec![0x0b],
        ]
        .concat();
        run_of(NO_LOCALS, &code)
    };
    // so many locals are alive across so many calls, which may suspend
    let alive = |n: usize, calls: usize| {
        let set: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20, 0, 0x41, 3, 0x6a, 0x21], size(n)].concat())
            .collect();
        let used: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20], size(n), vec![0x6a]].concat())
            .collect();
        let code = [
            set,
            vec![0x41, 0, 0x04, EMPTY],
            repeated(&[0x10, 0], calls),
            vec![0x0b, 0x41, 0],
            used,
            vec![0x1a],
        ]
        .concat();
        run_of(&locals(n), &code)
    };
    // loops that carry so many locals, one after the other
    let carried = |n: usize, loops: usize| {
        let turn: Vec<u8> = (1..n)
            .flat_map(|n| [vec![0x20], size(n), vec![0x20, 0, 0x6a, 0x21], size(n)].concat())
            .collect();
        let one = [
            vec![0x41, 2, 0x21, 0, 0x03, EMPTY],
            turn,
            vec![0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b],
        ]
        .concat();
        run_of(&locals(n), &repeated(&one, loops))
    };
    // so many loops around each other, each of which carries all locals
    let nest = |n: usize, depth: usize| {
        let turn: Vec<u8> = (1..n)
            .flat_map(|n| [vec![0x20], size(n), vec![0x41, 1, 0x6a, 0x21], size(n)].concat())
            .collect();
        let code = [
            repeated(&[0x03, EMPTY], depth),
            turn,
            repeated(&[0x20, 0, 0x0d, 0, 0x0b], depth),
        ]
        .concat();
        run_of(&locals(n), &code)
    };
    // joins at which every local may be either of two values
    let joins = |n: usize, joins: usize| {
        let set: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20, 0, 0x41, 3, 0x6a, 0x21], size(n)].concat())
            .collect();
        let one = [vec![0x20, 0, 0x04, EMPTY], set, vec![0x0b]].concat();
        run_of(&locals(n), &repeated(&one, joins))
    };
    // so many sums are alive at once, and nothing suspends
    let sums = |n: usize| {
        let made: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20, 0, 0x41], size(n % 60), vec![0x73]].concat())
            .collect();
        let code = [made, repeated(&[0x6a], n - 1), vec![0x1a]].concat();
        run_of(&locals(1), &code)
    };
    // so many values are alive across so many blocks of work
    let across = |n: usize, blocks: usize| {
        let made: Vec<u8> = (0..n)
            .flat_map(|n| [vec![0x20, 0, 0x41], size(n % 60), vec![0x73]].concat())
            .collect();
        let work = [
            vec![0x20, 0, 0x04, EMPTY],
            repeated(
                &[
                    0x20, 0, 0x20, 1, 0x6c, 0x21, 1, 0x20, 1, 0x20, 0, 0x6b, 0x21, 0,
                ],
                10,
            ),
            vec![0x0b],
        ]
        .concat();
        let code = [
            made,
            repeated(&work, blocks),
            repeated(&[0x6a], n - 1),
            vec![0x1a],
        ]
        .concat();
        run_of(&locals(2), &code)
    };
    let memory_accesses = |n: usize| {
        let code = repeated(&[0x41, 0, 0x20, 0, 0x28, 2, 0, 0x36, 2, 4], n);
        let mut body = [locals(1), code].concat();
        body.push(0x0b);
        let sized = [size(body.len()), body].concat();
        module(&[
            section(1, 1, &[0x60, 0, 0]),
            section(3, 1, &[0]),
            section(5, 1, &[0, 1]),
            section(7, 1, &[name("run"), vec![0, 0]].concat()),
            section(10, 1, &sized),
        ])
    };
    let branches = |n: usize| {
        // so many blocks, and a table with a way out of each
        let mut code = repeated(&[0x02, EMPTY], n);
        code.extend([0x20, 0, 0x0e]);
        code.extend(size(n - 1));
        code.extend((0..n).flat_map(size));
        code.extend(repeated(&[0x0b, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0], n));
        run_of(&locals(1), &code)
    };
    let divisions = |n: usize| {
        run_of(
            &locals(2),
            &repeated(&[0x41, 7, 0x20, 0, 0x41, 3, 0x72, 0x6d, 0x21, 0], n),
        )
    };
    let stack = |n: usize| {
        let code = [repeated(&[0x41, 1], n), repeated(&[0x1a], n)].concat();
        run_of(NO_LOCALS, &code)
    };
    let sum = |n: usize| {
        let code = [vec![0x20, 0], repeated(&[0x20, 0, 0x6a], n), vec![0x1a]].concat();
        run_of(&locals(1), &code)
    };
    vec![
        valid("50,000 locals", run_of(&locals(50_000), &[])),
        Extreme {
            name: "50,001 locals",
            valid: false,
            wasm: run_of(&locals(50_001), &[]),
        },
        valid("12,000 assignments to 12,000 locals", assignments(12_000)),
        valid("50,000 assignments to 50,000 locals", assignments(50_000)),
        valid(
            "100,000 blocks in each other",
            nested(&[0x02, EMPTY], 100_000),
        ),
        valid(
            "100,000 loops in each other",
            nested(&[0x03, EMPTY], 100_000),
        ),
        valid(
            "100,000 ifs in each other",
            nested(&[0x41, 1, 0x04, EMPTY], 100_000),
        ),
        valid("100,000 targets", targets),
        valid("1,000 params and results", wide(1000)),
        Extreme {
            name: "1,001 params and results",
            valid: false,
            wasm: wide(1001),
        },
        valid("5,000 loops", loops(5000)),
        valid("50,000 loops", loops(50_000)),
        valid("100,000 diamonds", diamonds(100_000)),
        valid("100,000 calls", calls(100_000)),
        valid("1,000 locals alive across 5,000 calls", alive(1000, 5000)),
        valid(
            "10,000 locals alive across 5,000 calls",
            alive(10_000, 5000),
        ),
        valid(
            "50,000 locals alive across 50,000 calls",
            alive(50_000, 50_000),
        ),
        valid("200 loops that carry 1,000 locals", carried(1000, 200)),
        valid("1 loop that carries 1,000 locals", carried(1000, 1)),
        valid("1 loop that carries 2,000 locals", carried(2000, 1)),
        valid("1 loop that carries 4,000 locals", carried(4000, 1)),
        valid("2,000 sums alive at once", sums(2000)),
        valid("8,000 sums alive at once", sums(8000)),
        valid("50,000 sums alive at once", sums(50_000)),
        valid("1,000 values alive across 500 blocks", across(1000, 500)),
        valid("3,000 values alive across 1,000 blocks", across(3000, 1000)),
        valid("100,000 values alive across 10 blocks", across(100_000, 10)),
        valid("3 loops that carry 12,000 locals", carried(12_000, 3)),
        valid(
            "1,000 loops in each other that carry 1,000 locals",
            nest(1000, 1000),
        ),
        valid("200 joins of 1,000 locals", joins(1000, 200)),
        valid("10 joins of 20,000 locals", joins(20_000, 10)),
        valid("100,000 memory accesses", memory_accesses(100_000)),
        valid("20,000 ways out of 20,000 blocks", branches(20_000)),
        valid("100,000 divisions", divisions(100_000)),
        valid("500,000 values on the stack", stack(500_000)),
        valid("1,000,000 additions", sum(1_000_000)),
        valid(
            "a body of 7 MB",
            run_of(NO_LOCALS, &repeated(&[0x01], 7_000_000)),
        ),
        Extreme {
            name: "a body of 8 MB",
            valid: false,
            wasm: run_of(NO_LOCALS, &repeated(&[0x01], 8_000_000)),
        },
    ]
}

fn large_state() -> Vec<Extreme> {
    let valid = |name, wasm| Extreme {
        name,
        valid: true,
        wasm,
    };
    let memory = |limits: &[u8]| module(&[section(5, 1, limits)]);
    let pages = |n: u64| [vec![0], leb(n)].concat();
    let table = |n: u64| module(&[section(4, 1, &[vec![0x70, 0], leb(n)].concat())]);
    let segment = |n: usize| {
        let segment = [vec![0, 0x41, 0, 0x0b], size(n), repeated(&[7], n)].concat();
        module(&[section(5, 1, &pages(1024)), section(11, 1, &segment)])
    };
    let elements = |n: usize| {
        let segment = [vec![0, 0x41, 0, 0x0b], size(n), repeated(&[0], n)].concat();
        let table = [vec![0x70, 0], size(n)].concat();
        module(&[
            section(1, 1, &[0x60, 0, 0]),
            section(3, 1, &[0]),
            section(4, 1, &table),
            section(9, 1, &segment),
            section(10, 1, &[2, 0, 0x0b]),
        ])
    };
    let named = |n: usize| {
        let export = [name(&"n".repeat(n)), vec![0, 0]].concat();
        module(&[
            section(1, 1, &[0x60, 0, 0]),
            section(3, 1, &[0]),
            section(7, 1, &export),
            section(10, 1, &[2, 0, 0x0b]),
        ])
    };
    vec![
        valid("a memory of 4 GiB", memory(&pages(65536))),
        Extreme {
            name: "a memory of more than 4 GiB",
            valid: false,
            wasm: memory(&pages(65537)),
        },
        valid("a table of 10,000,000 elements", table(10_000_000)),
        valid("a table of 4,294,967,295 elements", table(0xffff_ffff)),
        valid("a data segment of 60 MB", segment(60_000_000)),
        valid(
            "an element segment of 1,000,000 functions",
            elements(1_000_000),
        ),
        valid("a name of 90,000 bytes", named(90_000)),
        Extreme {
            name: "a name of 1,000,000 bytes",
            valid: false,
            wasm: named(1_000_000),
        },
    ]
}
