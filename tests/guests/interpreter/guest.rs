//! An interpreter: a loop around `br_table`, and native functions behind `call_indirect`. Rust without its standard library.

#![cfg_attr(target_arch = "wasm32", no_std)]

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub(crate) safe fn next(x: u32) -> u32;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
#[cfg(not(target_arch = "wasm32"))]
use super::host;

/// One operator of the stack machine; the operand of some is the next word of the program.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Op {
    Push,
    Load,
    Store,
    Dup,
    Swap,
    Drop,
    Add,
    Sub,
    Mul,
    Rem,
    Less,
    Equal,
    Xor,
    Shr,
    Jump,
    JumpIfZero,
    Call,
    Return,
    Native,
    Peek,
    Poke,
    Halt,
}

const OPS: [Op; 22] = [
    Op::Push,
    Op::Load,
    Op::Store,
    Op::Dup,
    Op::Swap,
    Op::Drop,
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Rem,
    Op::Less,
    Op::Equal,
    Op::Xor,
    Op::Shr,
    Op::Jump,
    Op::JumpIfZero,
    Op::Call,
    Op::Return,
    Op::Native,
    Op::Peek,
    Op::Poke,
    Op::Halt,
];

struct Machine {
    stack: [u64; 256],
    depth: usize,
    frames: [u32; 64],
    calls: usize,
    registers: [u64; 8],
    memory: [u8; 1024],
}

impl Machine {
    fn push(&mut self, value: u64) {
        self.stack[self.depth] = value;
        self.depth += 1;
    }

    fn pop(&mut self) -> u64 {
        self.depth -= 1;
        self.stack[self.depth]
    }

    fn binary(&mut self, operation: fn(u64, u64) -> u64) {
        let b = self.pop();
        let a = self.pop();
        self.push(operation(a, b));
    }
}

type Native = fn(&mut Machine);

fn square(machine: &mut Machine) {
    let x = machine.pop();
    machine.push(x.wrapping_mul(x));
}

fn rotate(machine: &mut Machine) {
    let x = machine.pop();
    machine.push(x.rotate_left(13) ^ 0x5bd1_e995);
}

/// Waits for the host, in the middle of everything.
fn ask(machine: &mut Machine) {
    let x = machine.pop();
    machine.push(u64::from(host::next(x as u32)));
}

fn count_ones(machine: &mut Machine) {
    let x = machine.pop();
    machine.push(u64::from(x.count_ones()));
}

static NATIVES: [Native; 4] = [square, rotate, ask, count_ones];

fn run(program: &[u32], natives: &[Native], argument: u64) -> u64 {
    let mut machine = Machine {
        stack: [0; 256],
        depth: 0,
        frames: [0; 64],
        calls: 0,
        registers: [argument, 0, 0, 0, 0, 0, 0, 0],
        memory: [0; 1024],
    };
    let mut at = 0usize;
    loop {
        let op = OPS[program[at] as usize];
        let operand = program.get(at + 1).copied().unwrap_or(0);
        at += 1;
        match op {
            Op::Push => {
                machine.push(u64::from(operand));
                at += 1;
            }
            Op::Load => {
                machine.push(machine.registers[operand as usize]);
                at += 1;
            }
            Op::Store => {
                machine.registers[operand as usize] = machine.pop();
                at += 1;
            }
            Op::Dup => {
                let x = machine.pop();
                machine.push(x);
                machine.push(x);
            }
            Op::Swap => {
                let b = machine.pop();
                let a = machine.pop();
                machine.push(b);
                machine.push(a);
            }
            Op::Drop => drop(machine.pop()),
            Op::Add => machine.binary(u64::wrapping_add),
            Op::Sub => machine.binary(u64::wrapping_sub),
            Op::Mul => machine.binary(u64::wrapping_mul),
            Op::Rem => machine.binary(|a, b| a % b),
            Op::Less => machine.binary(|a, b| u64::from(a < b)),
            Op::Equal => machine.binary(|a, b| u64::from(a == b)),
            Op::Xor => machine.binary(|a, b| a ^ b),
            Op::Shr => machine.binary(|a, b| a >> (b & 63)),
            Op::Jump => at = operand as usize,
            Op::JumpIfZero => {
                at += 1;
                if machine.pop() == 0 {
                    at = operand as usize;
                }
            }
            Op::Call => {
                machine.frames[machine.calls] = (at + 1) as u32;
                machine.calls += 1;
                at = operand as usize;
            }
            Op::Return => {
                machine.calls -= 1;
                at = machine.frames[machine.calls] as usize;
            }
            Op::Native => {
                natives[operand as usize](&mut machine);
                at += 1;
            }
            Op::Peek => {
                let address = machine.pop();
                machine.push(u64::from(machine.memory[address as usize]));
            }
            Op::Poke => {
                let value = machine.pop();
                let address = machine.pop();
                machine.memory[address as usize] = value as u8;
            }
            Op::Halt => return machine.pop(),
        }
    }
}

/// A word of a program: an operator or an operand.
trait Word {
    fn word(self) -> u32;
}

impl Word for Op {
    fn word(self) -> u32 {
        self as u32
    }
}

impl Word for u32 {
    fn word(self) -> u32 {
        self
    }
}

macro_rules! program {
    ($($word:expr),* $(,)?) => { [$(Word::word($word)),*] };
}

/// The `n`-th Fibonacci number, by recursion.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn fibonacci(n: u32) -> u64 {
    let program = program! {
        Op::Load, 0,
        Op::Call, 5,
        Op::Halt,
        // 5: n on the stack, fib(n) instead of it
        Op::Dup,
        Op::Push, 2,
        Op::Less,
        Op::JumpIfZero, 12,
        Op::Return,
        // 12
        Op::Dup,
        Op::Push, 1,
        Op::Sub,
        Op::Call, 5,
        Op::Swap,
        Op::Push, 2,
        Op::Sub,
        Op::Call, 5,
        Op::Add,
        Op::Return,
    };
    run(&program, &NATIVES, u64::from(n))
}

/// Primes below `n` (at most 1000), by a sieve in the machine's memory.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn primes(n: u32) -> u64 {
    let program = program! {
        // register 0: the limit, 1: the candidate, 2: a multiple, 3: the count
        Op::Push, 2,
        Op::Store, 1,
        // 4: the next candidate, if there is one
        Op::Load, 1,
        Op::Load, 0,
        Op::Less,
        Op::JumpIfZero, 59,
        Op::Load, 1,
        Op::Peek,
        Op::JumpIfZero, 18,
        Op::Jump, 50,
        // 18: a prime
        Op::Load, 3,
        Op::Push, 1,
        Op::Add,
        Op::Store, 3,
        Op::Load, 1,
        Op::Store, 2,
        // 29: marks a multiple
        Op::Load, 2,
        Op::Load, 0,
        Op::Less,
        Op::JumpIfZero, 50,
        Op::Load, 2,
        Op::Push, 1,
        Op::Poke,
        Op::Load, 2,
        Op::Load, 1,
        Op::Add,
        Op::Store, 2,
        Op::Jump, 29,
        // 50
        Op::Load, 1,
        Op::Push, 1,
        Op::Add,
        Op::Store, 1,
        Op::Jump, 4,
        // 59
        Op::Load, 3,
        Op::Halt,
    };
    run(&program, &NATIVES, u64::from(n))
}

/// Mixes `n` numbers with native functions, one of which waits for the host.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub(crate) extern "C" fn mix(n: u32) -> u64 {
    let program = program! {
        // register 0: how many are left, 1: the sum
        Op::Load, 0,
        Op::JumpIfZero, 29,
        Op::Load, 1,
        Op::Native, 1,
        Op::Load, 0,
        Op::Native, 0,
        Op::Xor,
        Op::Load, 0,
        Op::Native, 2,
        Op::Add,
        Op::Store, 1,
        Op::Load, 0,
        Op::Push, 1,
        Op::Sub,
        Op::Store, 0,
        Op::Jump, 0,
        // 29
        Op::Load, 1,
        Op::Dup,
        Op::Native, 3,
        Op::Xor,
        Op::Halt,
    };
    run(&program, &NATIVES, u64::from(n))
}
