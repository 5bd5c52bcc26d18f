//! Every pass, in order, on one screen.

#![forbid(unsafe_code)]

use super::passes::{
    Changed, blocks, critical_edges, dead_code, hoist, layout, number_values, redundant_params,
    simplify,
};
use crate::{
    ir::{value::Function, verify::verify_function},
    options::CompileOptions,
};

type Pass = (&'static str, fn(&mut Function) -> Changed);

/// What the optimizer does.
const PASSES: [Pass; 17] = [
    ("redundant_params", redundant_params::run),
    ("simplify", simplify::run),
    ("blocks", blocks::run),
    ("number_values", number_values::run),
    ("redundant_params", redundant_params::run),
    ("simplify", simplify::run),
    ("blocks", blocks::run),
    ("dead_code", dead_code::run),
    ("hoist", hoist::run),
    ("number_values", number_values::run),
    ("simplify", simplify::run),
    ("redundant_params", redundant_params::run),
    ("blocks", blocks::run),
    ("dead_code", dead_code::run),
    // What the back half relies on.
    ("critical_edges", critical_edges::run),
    ("redundant_params", redundant_params::run),
    ("layout", layout::run),
];

/// Optimizes a function. Behind it only jumps pass arguments, no edge is critical, blocks are in the order of emission,
/// and every block can be reached.
///
/// # Panics
/// If `options.checkers` is set and a pass breaks a rule of the IR: a bug of the compiler.
pub fn optimize(func: &mut Function, options: &CompileOptions) {
    let check = |func: &Function, pass: &str| {
        if options.checkers
            && let Err(error) = verify_function(func)
        {
            panic!("{} tier-1 {:?}: {pass}: {error}", func.index, func.entry);
        }
    };
    check(func, "build");
    for (name, pass) in PASSES {
        if pass(func) == Changed::Yes {
            check(func, name);
        }
    }
}
