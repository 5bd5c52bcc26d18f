//! What tier-0 code looks like; that it computes the right thing is tested in `tests/tier0`.

use crate::{
    arch::masm::CpuFeatures,
    code::draft::CodeDraft,
    options::CompileOptions,
    runtime::context::{VmLayout, offsets},
    wasm::{liveness::Liveness, module::Module, types::FuncIndex},
};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

fn compile(text: &str, options: &CompileOptions) -> CodeDraft {
    let bytes = wat::parse_str(text).expect("the text is well-formed");
    let module = Module::new(&bytes).expect("the module is valid");
    let func = FuncIndex(module.imported_functions);
    let liveness = Liveness::compute(&module, func).expect("liveness");
    let layout = VmLayout {
        globals: [].into(),
        imports: 512,
        size: 1024,
        ..VmLayout::default()
    };
    super::compile_for(
        CpuFeatures::BASELINE,
        &module,
        func,
        &layout,
        options,
        &liveness,
    )
    .expect("tier-0 compiles everything")
}

/// Instructions between two labels.
fn between(draft: &CodeDraft, from: &str, to: &str) -> Vec<String> {
    let at = |name: &str| {
        let found = draft.labels.iter().find(|(_, label)| label == name);
        found.unwrap_or_else(|| panic!("no label {name}")).0.0 as usize
    };
    let mut formatter = IntelFormatter::new();
    Decoder::with_ip(64, &draft.bytes[at(from)..at(to)], 0, DecoderOptions::NONE)
        .iter()
        .map(|instruction| {
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            text
        })
        .collect()
}

const SUM: &str = r#"(module
    (import "" "" (func $f (param i32) (result i32)))
    (memory 1)
    (func (param i64 i32) (result i64) (local i64)
        (loop
            (local.set 2 (i64.add (local.get 2) (i64.mul (local.get 0) (i64.load (local.get 1)))))
            (drop (call $f (local.get 1)))
            (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
            (br_if 0 (i64.gt_s (local.get 0) (i64.const 0))))
        (local.get 2)))"#;

#[test]
fn a_loop_reads_like_its_source() {
    let draft = compile(SUM, &CompileOptions::default());
    let code = between(&draft, "loop0.body", "resume");
    let trimmed: Vec<&str> = code
        .iter()
        .map(|line| {
            if line.starts_with('j') {
                &line[..2]
            } else {
                line
            }
        })
        .map(str::trim)
        .collect();
    assert_eq!(
        trimmed,
        [
            "mov eax,[rbp-18h]",
            "lea r11,[rax+8]",
            &format!("cmp r11,[r15+{:X}h]", offsets::MEMORY_LEN),
            "ja",
            &format!("mov rcx,[r15+{:X}h]", offsets::MEMORY_BASE),
            "mov rax,[rcx+rax]",
            "imul rax,[rbp-10h]",
            "add rax,[rbp-20h]",
            "mov [rbp-20h],rax",
            "mov edi,[rbp-18h]",
            "mov r10,[r15+208h]",
            "call qword ptr [r15+200h]",
            "test edx,edx",
            "jn",
            "mov rax,[rbp-10h]",
            "sub rax,1",
            "mov [rbp-10h],rax",
            "cmp qword ptr [rbp-10h],0",
            "jg",
            "mov rax,[rbp-20h]",
            "xor edx,edx",
            "leave",
            "ret",
        ]
    );
}

#[test]
fn a_loop_header_counts_down_then_tests_the_checkpoint() {
    let draft = compile(SUM, &CompileOptions::default());
    let code = between(&draft, "loop0", "loop0.body");
    assert_eq!(code.len(), 4, "{code:?}");
    assert_eq!(code[0], "dec dword ptr [rbp-8]");
    assert!(code[1].starts_with("jle"));
    assert_eq!(code[2], "cmp dword ptr [r15],0");
    assert!(code[3].starts_with("jne"));
    assert_eq!(draft.patchpoints.len(), 1);
}

#[test]
fn without_patchpoints_a_loop_header_is_its_checkpoint() {
    let options = CompileOptions {
        patchpoints: false,
        ..CompileOptions::default()
    };
    let draft = compile(SUM, &options);
    assert_eq!(between(&draft, "loop0", "loop0.body").len(), 2);
    assert!(draft.patchpoints.is_empty());
}

#[test]
fn the_entry_tests_the_resume_address_and_jumps() {
    let draft = compile(SUM, &CompileOptions::default());
    let code = between(&draft, "resume.jump", "patchpoint0.hit");
    assert_eq!(code, ["jmp rax"]);
    let code = between(&draft, "resume", "resume.jump");
    assert_eq!(
        (&code[..4], code[5].as_str(), code[6].as_str()),
        (
            &[
                "push rbp".to_owned(),
                "mov rbp,rsp".to_owned(),
                "mov rax,[rdi+10h]".to_owned(),
                "test rax,rax".to_owned()
            ][..],
            "mov rax,[rdi+18h]",
            "jmp qword ptr [rax]"
        )
    );
}
