//! Call frame information: how a debugger, or the old resume path, finds a frame.
//!
//! Guest frames are made by `push rbp; mov rbp, rsp` and left by `leave; ret`, in several places of one piece of code
//! (entry, resume entry, doors, every return). The rows are derived from the code itself, so they hold at each
//! instruction:
//!
//! ```text
//! at a `push rbp`        CFA = rsp + 8
//! behind it              CFA = rsp + 16, rbp saved at CFA - 16
//! behind `mov rbp, rsp`  CFA = rbp + 16
//! behind `leave`         CFA = rsp + 8, rbp restored
//! behind `ret`           CFA = rbp + 16 again (what follows is out-of-line code of the body)
//! ```

use gimli::{
    Encoding, Format, LittleEndian, Register, SectionId, X86_64,
    write::{
        Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec,
        FrameDescriptionEntry, FrameTable, Writer as _,
    },
};
use iced_x86::{Code, Decoder, DecoderOptions, Register as X86Register};

/// A frame table in the `.eh_frame` format for the code at `address`.
///
/// # Panics
/// Never for code shorter than 4 GiB.
pub fn eh_frame(address: usize, code: &[u8]) -> Vec<u8> {
    let mut table = FrameTable::default();
    let encoding = Encoding {
        format: Format::Dwarf32,
        version: 1,
        address_size: 8,
    };
    let mut common = CommonInformationEntry::new(encoding, 1, -8, X86_64::RA);
    common.add_instruction(CallFrameInstruction::Cfa(X86_64::RSP, 8));
    common.add_instruction(CallFrameInstruction::Offset(X86_64::RA, -8));
    let common = table.add_cie(common);
    let length = u32::try_from(code.len()).expect("one function's code is shorter than 4 GiB");
    let mut entry = FrameDescriptionEntry::new(Address::Constant(address as u64), length);
    for (offset, row) in rows(code) {
        match row {
            Row::Called => {
                entry.add_instruction(offset, CallFrameInstruction::Cfa(X86_64::RSP, 8));
                entry.add_instruction(offset, CallFrameInstruction::Restore(X86_64::RBP));
            }
            Row::Pushed => {
                entry.add_instruction(offset, CallFrameInstruction::Cfa(X86_64::RSP, 16));
                entry.add_instruction(offset, CallFrameInstruction::Offset(X86_64::RBP, -16));
            }
            Row::Framed => {
                entry.add_instruction(offset, CallFrameInstruction::Cfa(X86_64::RBP, 16));
                entry.add_instruction(offset, CallFrameInstruction::Offset(X86_64::RBP, -16));
            }
        }
    }
    table.add_fde(common, entry);
    let mut section = EhFrame::from(EndianVec::new(LittleEndian));
    table
        .write_eh_frame(&mut section)
        .expect("writing to memory");
    debug_assert_eq!(
        <EhFrame<EndianVec<LittleEndian>> as gimli::write::Section<_>>::id(&section),
        SectionId::EhFrame
    );
    section.0.write_u32(0).expect("writing to memory");
    section.0.into_vec()
}

/// The number DWARF has for a general register.
pub fn dwarf_register(number: usize) -> Register {
    [
        X86_64::RAX,
        X86_64::RCX,
        X86_64::RDX,
        X86_64::RBX,
        X86_64::RSP,
        X86_64::RBP,
        X86_64::RSI,
        X86_64::RDI,
        X86_64::R8,
        X86_64::R9,
        X86_64::R10,
        X86_64::R11,
        X86_64::R12,
        X86_64::R13,
        X86_64::R14,
        X86_64::R15,
    ][number]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Called,
    Pushed,
    Framed,
}

/// Where the frame changes, by rising offset.
fn rows(code: &[u8]) -> Vec<(u32, Row)> {
    let mut rows = Vec::new();
    let mut current = Row::Called;
    let mut change = |offset: u64, row: Row| {
        if row != current {
            rows.push((u32::try_from(offset).expect("shorter than 4 GiB"), row));
            current = row;
        }
    };
    for instruction in &mut Decoder::new(64, code, DecoderOptions::NONE) {
        match instruction.code() {
            Code::Push_r64 if instruction.op0_register() == X86Register::RBP => {
                change(instruction.ip(), Row::Called);
                change(instruction.next_ip(), Row::Pushed);
            }
            Code::Mov_rm64_r64 | Code::Mov_r64_rm64
                if instruction.op0_register() == X86Register::RBP
                    && instruction.op1_register() == X86Register::RSP =>
            {
                change(instruction.next_ip(), Row::Framed);
            }
            Code::Leaveq => change(instruction.next_ip(), Row::Called),
            Code::Retnq => change(instruction.next_ip(), Row::Framed),
            _ => (),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_frame_through_two_entries() {
        let code = [
            0x55, // push rbp
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x90, // nop
            0xc9, // leave
            0xc3, // ret
            0x90, // nop, out of line
            0x55, // push rbp, the second entry
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0xc9, // leave
            0xc3, // ret
        ];
        assert_eq!(
            rows(&code),
            [
                (1, Row::Pushed),
                (4, Row::Framed),
                (6, Row::Called),
                (7, Row::Framed),
                (8, Row::Called),
                (9, Row::Pushed),
                (12, Row::Framed),
                (13, Row::Called),
                (14, Row::Framed),
            ]
        );
    }
}
