//! Printing the stages of a compilation to standard error, for whoever looks for a bug in it (`MIDAIR_DUMP`).

#![forbid(unsafe_code)]

use crate::code::draft::CodeKind;

/// Which stages are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The IR, after it was built and after each pass that changed it.
    pub ir: bool,
    /// Machine instructions with the registers and slots they were given.
    pub regalloc: bool,
    /// Machine code.
    pub listing: bool,
}

impl Dump {
    /// Names of the stages.
    pub const STAGES: [&str; 3] = ["ir", "regalloc", "listing"];

    /// Adds a stage by its name.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn add(&mut self, stage: &str) -> Result<(), String> {
        match stage {
            "ir" => self.ir = true,
            "regalloc" => self.regalloc = true,
            "listing" => self.listing = true,
            _ => {
                return Err(format!(
                    "`{stage}` is not one of {}",
                    Self::STAGES.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// How a code version is called.
pub fn title(kind: CodeKind, name: &str) -> String {
    match kind {
        CodeKind::Tier0 => format!("tier-0 {name}"),
        CodeKind::Osr(offset) => format!("osr{offset} {name}"),
        CodeKind::Tier1 => format!("tier-1 {name}"),
    }
}

/// Prints a stage in one piece, so that those of several threads do not mix. A closed standard error is not our business.
pub fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{}\n", text.trim_end()).as_bytes());
}
