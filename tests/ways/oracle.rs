//! The corpus against the oracle: what each program states about itself is true on wasmi.

use crate::harness::{
    Action, Answer, Expected, Outcome, Program, Value, Wasmi, Way, check, corpus, host_imports,
    random,
};

#[test]
fn every_stated_answer_is_the_oracles() {
    let programs = corpus().unwrap_or_else(|e| panic!("{e}"));
    let ran = check(&Wasmi, &programs).unwrap_or_else(|e| panic!("{e}"));
    assert!(ran >= 90, "only {ran} programs were found");
}

#[test]
fn every_program_is_invoked() {
    for program in corpus().unwrap_or_else(|e| panic!("{e}")) {
        let invoked = program
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Invoke { .. }));
        let refused = program.instantiation != Expected::Values(Vec::new());
        assert!(
            invoked != refused,
            "{}: one of `invoke` and `instantiate => trap` is needed",
            program.name
        );
    }
}

fn loop_headers_in(text: &str) -> usize {
    text.lines()
        .map(|line| line.split(";;").next().unwrap_or_default())
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '(' || c == ')'))
        .filter(|word| *word == "loop")
        .count()
}

#[test]
fn every_stated_number_of_loop_headers_is_the_texts() {
    for program in corpus().unwrap_or_else(|e| panic!("{e}")) {
        if let Some(stated) = program.osr_headers {
            assert_eq!(stated, loop_headers_in(&program.text), "{}", program.name);
        }
    }
}

#[test]
fn every_program_opens_with_its_story() {
    for program in corpus().unwrap_or_else(|e| panic!("{e}")) {
        let told = program
            .text
            .strip_prefix(";;! ")
            .is_some_and(|story| story.starts_with(char::is_uppercase));
        assert!(
            told,
            "{}: the first line says what it is about",
            program.name
        );
    }
}

#[test]
fn the_host_offers_what_its_table_lists() {
    let imports = host_imports(|_| true);
    let text = format!("(module {imports} (func (export \"run\")))\n;;! invoke \"run\"");
    let program = Program::parse("host".to_owned(), text).unwrap_or_else(|e| panic!("{e}"));
    check(&Wasmi, &[program]).unwrap_or_else(|e| panic!("{e}"));
}

/// How far random programs got: none of the numbers may be zero, or they test nothing.
fn run_on_the_oracle(generate: fn(u64) -> Result<Program, String>) -> (u64, u64, u64) {
    let (mut values, mut traps, mut awaits) = (0, 0, 0);
    for seed in 0..200 {
        let program = generate(seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let outcome = Wasmi
            .run(&program)
            .unwrap_or_else(|e| panic!("{}: {e}\n{}", program.name, program.text));
        awaits += outcome.awaits;
        for (step, answer) in program.steps.iter().zip(&outcome.steps) {
            match (&step.action, answer) {
                (Action::Invoke { .. }, Answer::Trap(_)) => traps += 1,
                (Action::Invoke { .. }, Answer::Values(_)) => values += 1,
                _ => {}
            }
        }
    }
    (values, traps, awaits)
}

#[test]
fn two_hundred_smith_modules_run() {
    let (values, traps, _) = run_on_the_oracle(random::smith);
    assert!(values > 200, "{values} invokes returned");
    assert!(traps > 100, "{traps} invokes trapped");
}

#[test]
fn two_hundred_programs_of_our_own_run() {
    let (values, traps, awaits) = run_on_the_oracle(random::own);
    assert!(values > 1000, "{values} invokes returned");
    assert!(traps > 20, "{traps} invokes trapped");
    assert!(awaits > 100_000, "{awaits} awaits");
}

#[test]
fn a_seed_is_a_program() {
    for seed in [0, 7, u64::MAX] {
        for generate in [random::smith, random::own] {
            let once = generate(seed).unwrap_or_else(|e| panic!("{e}"));
            let again = generate(seed).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(once.wasm, again.wasm);
            let first = Wasmi.run(&once).unwrap_or_else(|e| panic!("{e}"));
            let second = Wasmi.run(&again).unwrap_or_else(|e| panic!("{e}"));
            first.agrees_with(&second).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// The oracle, but for one thing that it makes wrong.
struct Liar(fn(&mut Outcome));

impl Way for Liar {
    fn name(&self) -> String {
        "liar".to_owned()
    }

    fn run(&self, program: &Program) -> Result<Outcome, String> {
        let mut outcome = Wasmi.run(program)?;
        self.0(&mut outcome);
        Ok(outcome)
    }
}

#[test]
fn a_way_that_lies_is_caught() {
    let lies: [fn(&mut Outcome); 6] = [
        |o| o.steps[0] = Answer::Values(vec![Value::I64(0)]),
        |o| o.steps[0] = Answer::Trap("unreachable".to_owned()),
        |o| drop(o.steps.pop()),
        |o| o.log.push(1),
        |o| o.awaits += 1,
        |o| o.instantiation = Answer::Trap("unreachable".to_owned()),
    ];
    let program = || {
        corpus()
            .unwrap_or_else(|e| panic!("{e}"))
            .into_iter()
            .find(|program| program.name == "awaits/sum")
            .expect("it is there")
    };
    check(&Liar(|_| {}), &[program()]).unwrap_or_else(|e| panic!("{e}"));
    for (i, lie) in lies.into_iter().enumerate() {
        assert!(check(&Liar(lie), &[program()]).is_err(), "lie {i} passed");
    }
}

fn stated(directives: &str) -> Program {
    let text = format!(
        "{directives}\n(module (memory (export \"memory\") 1) (global (export \"g\") i32 (i32.const 7))
           (func (export \"id\") (param f32) (result f32) (local.get 0))
           (func (export \"fall\") (result i32) (unreachable)))"
    );
    Program::parse("stated".to_owned(), text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_true_statement_passes() {
    let program = stated(
        ";;! Says what is so.
         ;;! invoke \"id\" (f32 bits:0x7fc00000) => (f32 nan:canonical)
         ;;! invoke \"id\" (f32 -0.0) => (f32 bits:0x8000_0000)
         ;;! invoke \"fall\" => trap \"unreachable\"
         ;;! memory 0 => 00 00
         ;;! pages => 1
         ;;! global \"g\" => (i32 0x7)",
    );
    assert_eq!(program.steps.len(), 6);
    check(&Wasmi, &[program]).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_false_statement_fails() {
    for lie in [
        ";;! invoke \"id\" (f32 0) => (f32 -0.0)",
        ";;! invoke \"id\" (f32 1) => (f32 nan:canonical)",
        ";;! invoke \"id\" (f32 1)",
        ";;! invoke \"id\" (f32 1) => trap \"unreachable\"",
        ";;! invoke \"id\" (i32 1) => (f32 1)",
        ";;! invoke \"nobody\"",
        ";;! invoke \"fall\" => trap \"integer overflow\"",
        ";;! invoke \"fall\" => (i32 0)",
        ";;! memory 0 => 01",
        ";;! memory 65536 => 00",
        ";;! pages => 2",
        ";;! global \"g\" => (i32 8)",
        ";;! log 1",
        ";;! instantiate => trap \"unreachable\"",
    ] {
        assert!(check(&Wasmi, &[stated(lie)]).is_err(), "{lie} passed");
    }
}

#[test]
fn a_misspelled_directive_is_refused() {
    for line in [
        "invok \"f\"",
        "invoke f",
        "invoke \"f\" (i32 1",
        "invoke \"f\" (i32 4294967296)",
        "invoke \"f\" (i8 1)",
        "invoke \"f\" => (i32 1) 2",
        "invoke \"f\" (f32 nan:canonical)",
        "memory 0 => 1ff",
        "osr places: 1",
    ] {
        let text = format!(";;! {line}\n(module)");
        let parsed = Program::parse("misspelled".to_owned(), text);
        assert!(parsed.is_err(), "{line} was read");
    }
}
